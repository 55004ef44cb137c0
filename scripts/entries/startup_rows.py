"""Where servers are: addresses, names, sockets, files, variables, secrets, and what is refused."""
import os
import shutil

from startup import Row

REFUSED = 78
MODES = [("disable", 0), ("allow", 0), ("prefer", 0), ("require", 0), ("verify-ca", 0), ("verify-full", 0), ("on", REFUSED)]


def rows(at):
    return [*database(at), *service(at), *refused_urls(at), *misplaced(at), *cache(at), *receivers(at), *secrets(at), *variables(at)]


def database(at):
    app, port = "app:simple", at.postgres
    base = f"127.0.0.1:{port}"

    def url(text, what, **more):
        return Row(f"DATABASE_URL: {what}", env={"DATABASE_URL": text, **more.pop("env", {})}, **more)
    yield url(f"postgres://{app}@{base}/app", "an address")
    yield url(f"postgresql://{app}@{base}/app", "postgresql://")
    yield url(f"postgres://{app}@{base}/app\n", "with a line end, as many a secret's store adds it")
    yield url(f"postgres://{app}@localhost:{port}/app", "a name")
    yield url(f"postgres://{app}@localhost:{port}/app", "a name, and the daemon runs", verb="run")
    yield url(f"postgres://{app}@db.internal:{port}/app", "a name of /etc/hosts", names=True)
    yield url(f"postgres://{app}@several.internal:{port}/app", "a name with three addresses, IPv6 first, of which one answers", names=True)
    yield url(f"postgres://{app}@several.internal:{port}/app", "the same, and the daemon runs", verb="run", names=True)
    yield url(f"postgres://{app}@127.0.0.9:{port},127.0.0.1:{port}/app", "two hosts, the first refuses")
    yield url(f"postgres://{app}@no-such-host.invalid:{port},localhost:{port}/app", "two hosts, the first is unknown")
    yield url(f"postgres://{app}@dead.internal,db.internal/app?port={port}", "two names and one port for both, the first refuses", names=True)
    yield url(f"postgres://{app}@127.0.0.1:{at.silent},{base}/app", "two hosts, the first says nothing")
    if at.postgres6:
        yield url(f"postgres://{app}@[::1]:{at.postgres6}/app", "IPv6 in brackets")
        yield url(f"postgres://{app}@[::1%251]:{at.postgres6}/app", "IPv6 with a zone")
    folder = at.socket.replace("/", "%2F")
    yield url(f"postgres://{app}@{folder}:{port}/app", "a socket as %2F")
    yield url(f"postgres://{app}@:{port}/app?host={at.socket}", "a socket as ?host=")
    yield url(f"postgres:///app?host={at.socket}&port={port}&user=app&password=simple", "everything as parameters")
    yield url(f"postgres://{app}@%40{folder}:{port}/app", "an abstract socket")
    yield url(f"host=127.0.0.1 port={port} dbname=app user=app password=simple", "key=value")
    yield url(f"host='{at.socket}' port = {port} dbname=app user=app password='simple'", "key=value with quotes and blanks")
    yield url(f"postgres://{at.quoted_user}:{at.quoted}@{base}/app", "user and password with every reserved character, encoded")
    yield url(f"postgres://{at.quoted_user}:{at.quoted}@{base}/app", "the same, and the daemon runs", verb="run")
    yield url(f"postgres://{app}@{base}/a%2Fb%40c%20d", "a database with reserved characters")
    yield url("postgres://", "nothing but the scheme, and PG*",
              env={"PGHOST": "127.0.0.1", "PGPORT": f"{port}", "PGUSER": "app", "PGPASSWORD": "simple", "PGDATABASE": "app"})
    yield Row("PG* alone", env={"PGHOST": "localhost", "PGPORT": f"{port}", "PGUSER": "app", "PGPASSWORD": "simple", "PGDATABASE": "app"})
    yield Row("PGHOSTADDR alone", env={"PGHOSTADDR": "127.0.0.1", "PGPORT": f"{port}", "PGUSER": "app", "PGPASSWORD": "simple", "PGDATABASE": "app"})
    passfile = at.file(f"localhost:{port}:app:app:simple\n127.0.0.1:*:*:app:simple\n")
    yield url(f"postgres://app@{base}/app?passfile={passfile}", "a password file as passfile=")
    yield url(f"postgres://app@localhost:{port}/app", "a password file as PGPASSFILE, by the host's name", env={"PGPASSFILE": passfile})
    yield url(f"postgres://app@{base}/app", "a password in ~/.pgpass", env={"HOME": pgpass(at, passfile)})
    yield from password_files(at, base)
    yield url(f"postgres://{app}@127.0.0.1:%20+{port}%0D/app?keepalives_idle=%20+7", "numbers with blanks and signs, as libpq reads them")
    yield url("", "empty beside PG*, PGPORT with a carriage return",
              env={"PGHOST": "127.0.0.1", "PGPORT": f"{port}\r", "PGUSER": "app", "PGPASSWORD": "simple", "PGDATABASE": "app"})
    for text in ("10", "0", "-1", "1"):
        yield url(f"postgres://{app}@{base}/app?connect_timeout={text}", f"connect_timeout={text}")
    yield url(f"postgres://{app}@{base}/app?connect_timeout=10", "connect_timeout is the pool's", verb="check-config", says=("database.pool.connect = 10s",))
    yield url(f"postgres://{app}@{base}/app", "PGCONNECT_TIMEOUT is the pool's", verb="check-config", env={"PGCONNECT_TIMEOUT": "7"}, says=("database.pool.connect = 7s",))
    for mode, status in MODES:
        root = f"&sslrootcert={at.ca}" if mode.startswith("verify") else ""
        yield url(f"postgres://{app}@localhost:{port}/app?sslmode={mode}{root}", f"sslmode={mode}", status=status,
                  says=("expected one of disable, allow, prefer, require, verify-ca, verify-full",) if status else ())
    yield url(f"postgres://{app}@{base}/app?ssl=true", "ssl=true, as for JDBC")
    yield url(f"postgres://{app}@{base}/app?options=-c%20statement_timeout%3D5s&application_name=x&keepalives_idle=30&tcp_user_timeout=5000&gssencmode=disable"
              "&channel_binding=prefer&target_session_attrs=read-write&ssl_min_protocol_version=TLSv1.2&krbsrvname=postgres&sslcompression=0", "many of libpq's parameters")
    yield url(f"postgres://{app}@{base}/app", "PGTZ, PGDATESTYLE, PGGEQO, PGCLIENTENCODING and PGOPTIONS do no harm", verb="run",
              env={"PGTZ": "Asia/Tokyo", "PGDATESTYLE": "German", "PGGEQO": "off", "PGCLIENTENCODING": "LATIN1", "PGOPTIONS": "-c datestyle=SQL"})
    yield url(f"postgres://{app}@{base}/app", "PGTZ and PGDATESTYLE without sense do no harm", verb="run",
              env={"PGTZ": "Nowhere/Land", "PGDATESTYLE": "nope"})
    yield url(f"postgres://{app}@{base}/app", "variables of libpq beside a URL that has its own", env={"PGHOST": "nowhere.invalid", "PGSSLMODE": "prefer", "PGUSER": "nobody"})


def password_files(at, base):
    """Those of which libpq complains on standard error, or not at all."""
    line = b"*:*:*:app:simple\n"
    is_open, marked, other = at.file(line, 0o644), at.file(b"\xef\xbb\xbf" + line), at.file(b"elsewhere:*:*:app:simple\n")
    silent = {"never": ("WARNING: password file",)}
    for path, what, words in [
        (is_open, "that others may open", "chmod 600"), (at.home, "that is a folder", "folder"), ("/dev/null", "that is a device", "device"),
        ("/nowhere/pass", "that is missing", "does not exist"), (marked, "with a byte order mark", "byte order mark"), (other, "without a line for us", "no line"),
    ]:
        yield Row(f"a password file {what} is named", env={"DATABASE_URL": f"postgres://app@{base}/app", "PGPASSFILE": path}, status=1, says=(path, words), **silent)
    yield Row("a password file that others may open, and a password", verb="run",
              env={"DATABASE_URL": f"postgres://app:simple@{base}/app", "PGPASSFILE": is_open}, never=("password file",))


def pgpass(at, passfile):
    home = f"{at.home}/pgpass"
    os.makedirs(home, exist_ok=True)
    shutil.copy(passfile, f"{home}/.pgpass")
    return home


def service(at):
    file = at.file(f"# ours\n[other]\nhost=nowhere.invalid\n\n[mydb]\nhost=localhost\nport={at.postgres}\ndbname=app\nuser=app\npassword=simple\n")
    windows = at.file(f"[mydb]\r\nhost=127.0.0.1\r\nport={at.postgres}\r\ndbname=app\r\nuser=app\r\npassword=simple\r\n")
    yield Row("PGSERVICE with PGSERVICEFILE", env={"PGSERVICE": "mydb", "PGSERVICEFILE": file})
    yield Row("PGSERVICE with PGSERVICEFILE, and the daemon runs", verb="run", env={"PGSERVICE": "mydb", "PGSERVICEFILE": file})
    yield Row("a service file from Windows", env={"PGSERVICE": "mydb", "PGSERVICEFILE": windows})
    yield Row("service= in the URL", env={"DATABASE_URL": "postgres://?service=mydb", "PGSERVICEFILE": file})
    yield Row("service= in key=value", env={"DATABASE_URL": "service=mydb", "PGSERVICEFILE": file})
    yield Row("a service, and a URL that overrules its host", env={"DATABASE_URL": f"postgres://127.0.0.1:{at.postgres}", "PGSERVICE": "mydb", "PGSERVICEFILE": file})
    yield Row("a service that is not defined", status=REFUSED, env={"PGSERVICE": "none", "PGSERVICEFILE": file}, says=("names the service \"none\"", "not defined"))
    latin = at.file(b"# M\xfcller\n[mydb]\nhost=127.0.0.1\nport=%d\ndbname=app\nuser=app\npassword=simple\n[\xe4]\nhost=\xe4\n" % at.postgres)
    marked = at.file(b"\xef\xbb\xbf[mydb]\nhost=127.0.0.1\n")
    long = at.file("[mydb]\nhost=127.0.0.1\n" + "# comment\n" * 7_000)
    yield Row("a service file with comments in Latin-1", env={"PGSERVICE": "mydb", "PGSERVICEFILE": latin})
    yield Row("a service file with a byte order mark", status=REFUSED, env={"PGSERVICE": "mydb", "PGSERVICEFILE": marked}, says=(f"{marked}:1: begins with a byte order mark",))
    yield Row("a service file that is too long", status=REFUSED, env={"PGSERVICE": "mydb", "PGSERVICEFILE": long}, says=("longer than 65536 bytes",))
    yield Row("a service that is an address", status=REFUSED, env={"PGSERVICE": "postgres://app:canary@db/app"}, says=("DATABASE_URL",), never=("canary",))
    yield Row("a service file that is not there", status=REFUSED, env={"PGSERVICE": "mydb", "PGSERVICEFILE": "/nowhere"}, says=("/nowhere does not exist",))


def refused_urls(at):
    for text, words in [
        ("postgres://app:canary/et@db/app", "%2F"), ("postgres://app:12/canary@db/app", "%2F"), ("postgres://db:canary/app", "port"),
        ("postgres://db:65536/app", "port"), ("postgres://db:0/app", "port"), ("postgres://[::1/canary", "bracket"),
        ("postgres://app:%xcanary@db/app", "%25"), ("postgres://db/app?canary@=1", "unknown parameter"), ("postgres://db/app?sslmod=require", "did you mean sslmode?"),
        ("postgres://db/app?load_balance_hosts=random", "libpq 16"), ("postgres://db/app?replication=true", "replication"),
        ("postgres://db/app?connect_timeout=soon", "connect_timeout"),
        ("postgres://app:canary@@127.0.0.1/app", "%40"), ("postgres://db/app?keepalives_idle=1%200", "keepalives_idle"), ("host=db password=a canary", "'value'"), ("mysql://app:canary@db/app", "postgres://"),
    ]:
        yield Row(f"DATABASE_URL refused: {text.replace('canary', 'X')}", verb="check-config", env={"DATABASE_URL": text}, status=REFUSED, says=(words,), never=("canary",))


def misplaced(at):
    """Addresses and secrets that stand where others are expected: told of, never quoted."""
    database = {"DATABASE_URL": f"postgres://app:simple@127.0.0.1:{at.postgres}/app"}
    for yaml, words in [
        ("database: postgres://app:canary@h/db", "database.url"), ("database: host=db password=canary", "database.url"), ("cache: redis://:canary@h", "cache.url"),
        ("receivers: https://hooks.example.org/canary", "a list of receivers"), ("'postgres://app:canary@h/db': x", "database.url"),
        ("targets: https://h/canary", "targets"), ("cache: { url: 'redis://h', password-file: canary }", "not the secret itself"),
        ("receivers: [{ name: a, webhook: 'http://h', secret-file: whsec_canary }]", "not the secret itself"),
    ]:
        yield Row(f"misplaced: {yaml.replace('canary', 'X')}", verb="check-config", env=database, yaml=f"{yaml}\n", status=REFUSED, says=(words,), never=("canary",))
    yield Row("misplaced: PGHOST=postgres://…", verb="check-config", env={"PGHOST": "postgres://app:canary@h/db"}, status=REFUSED, says=("DATABASE_URL",), never=("canary",))


def cache(at):
    database = {"DATABASE_URL": f"postgres://app:simple@127.0.0.1:{at.postgres}/app"}
    simple = at.file("simple\n")

    def url(text, what, file=None, **more):
        more = {"verb": "run", **more}
        return Row(f"REDIS_URL: {what}", env={**database, "REDIS_URL": text, **({"HEALTHD_CACHE_PASSWORD_FILE": file} if file else {})}, **more)
    base = f"127.0.0.1:{at.redis}"
    socket = at.redis_socket.replace(" ", "%20")
    yield url(f"redis://:simple@{base}", "a password")
    yield url(f"redis://app:simple@{base}/3", "a user, a password and a database")
    yield url(f"redis://app%40x:simple@{base}?db=3", "a user with an @, and ?db=")
    yield url(f"redis://hard:{at.quoted}@{base}", "every reserved character, encoded")
    yield url(f"redis://app@{base}", "a user, and the password in a file", file=simple)
    yield url(f"redis://{base}", "no user, and the password in a file", file=simple)
    yield url(f"redis://free:@{base}", "a user without a password")
    yield url(f"redis://:simple@localhost:{at.redis}", "a name")
    yield url(f"redis://:simple@several.internal:{at.redis}", "a name with three addresses, IPv6 first, of which one answers", names=True)
    if at.redis6:
        yield url(f"redis://:simple@[::1]:{at.redis6}", "IPv6 in brackets")
    for scheme in ("unix", "redis+unix", "redis-socket"):
        yield url(f"{scheme}://app:simple@{socket}?db=1", f"a socket as {scheme}://")
    yield Row("cache.url with a user, and cache.password-file", verb="run", env=database, yaml=f"cache: {{ url: 'redis://app@{base}', password-file: {simple} }}\n")
    yield Row("cache.url with a password is refused", verb="check-config", env=database, status=REFUSED, never=("canary",),
              yaml="cache: { url: 'redis://app:canary@h' }\n", says=("cache.password-file",))
    for text, words in [
        ("rediss://:canary@h", "TLS"), ("redis://h:65536", "port"), ("redis://h:0", "port"), ("redis://h:canary", "port"), ("redis://h/canary", "database"),
        ("redis://h/1?db=2", "different databases"), ("redis://canary@h", "no password"), ("redis://[::1", "IPv6"), ("redis://::1", "[ ]"),
        ("redis-sentinel://h", "Sentinel"), ("http://h", "scheme"), ("redis://:%xcanary@h", "%"),
    ]:
        yield url(text, f"refused: {text.replace('canary', 'X')}", verb="check-config", status=REFUSED, says=(words,), never=("canary",))


def receivers(at):
    environment = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}

    def hook(address, what, **more):
        return Row(f"webhook: {what}", env=environment, yaml=f"receivers:\n  - {{ name: oncall, webhook: '{address}' }}\n", **{"verb": "alerts test oncall", **more})
    port = at.receiver
    yield hook(f"http://127.0.0.1:{port}/hook?x=1", "an address")
    yield hook(f"http://localhost:{port}/hook?x=1", "a name")
    yield hook(f"http://several.internal:{port}/hook?x=1", "a name with three addresses, IPv6 first, of which one answers", names=True)
    if at.receiver6:
        yield hook(f"http://[::1]:{at.receiver6}/hook?x=1", "IPv6 in brackets")
    yield hook(f"http://oncall:canary@127.0.0.1:{port}/hook?x=1", "user and password", basic="oncall:canary", never=("canary",))
    yield hook(f"http://{at.quoted_user.replace('%3A', '')}:{at.quoted}@127.0.0.1:{port}/hook?x=1", "user and password with reserved characters",
               basic=f"{at.user.replace(':', '')}:{at.password}")
    yield hook(f"http://token@localhost:{port}/hook?x=1", "a user alone", basic="token:")
    yield hook(f"http://oncall:canary@127.0.0.1:{port}/hook?x=1", "user and password are shown by nobody", verb="check-config", never=("canary",))
    for address, words in [
        ("http://127.0.0.1:90800/canary", "port"), ("http://h:65536/canary", "port"), ("http://h:0/canary", "port"), ("http://h:canary/", "port"),
        ("http://u:canary/x@h/", "port"), ("http://h/canary#x", "#"), ("http://bücher.example/canary", "xn--"), ("http://h /canary", "blank"),
        ("http://[::1/canary", "IPv6"), ("http://[fe80::1%25lo]/canary", "zone"), ("http:///canary", "host"), ("ftp://h/canary", "http://"),
        ("http://u:canary%0D%0A@h/", "control character"), ("http://h%20x/canary", "host"),
    ]:
        yield hook(address, f"refused: {address.replace('canary', 'X')}", verb="check-config", status=REFUSED, says=(words, "webhook"), never=("canary",))
        yield hook(address, f"nor is it tried: {address.replace('canary', 'X')}", status=REFUSED, never=("canary",))
    yield hook("http://127.0.0.1:90800/canary", "the daemon does not start with a port of 90800", verb="run", status=REFUSED, never=("canary",))


def secrets(at):
    base = f"127.0.0.1:{at.postgres}"

    def file(path, what, **more):
        yaml = f"database: {{ url: 'postgres://app@{base}/app', password-file: '{path}' }}\n"
        return Row(f"password-file: {what}", yaml=yaml, **more)
    bom = b"\xef\xbb\xbf"
    for what, content in [("no line end", b"simple"), ("LF", b"simple\n"), ("CRLF", b"simple\r\n"), ("CR", b"simple\r"), ("BOM", bom + b"simple"), ("BOM and CRLF", bom + b"simple\r\n")]:
        yield file(at.file(content), what)
    for what, content, words in [
        ("two lines", b"canary\nb", "more than one line"), ("two lines with CRLF", b"canary\r\nb", "more than one line"), ("a line end alone", b"\n", "is empty"),
        ("CRLF alone", b"\r\n", "is empty"), ("nothing", b"", "is empty"), ("a zero byte", b"canary\0", "zero byte"), ("UTF-16", "canary".encode("utf-16"), "UTF-8"),
        ("5,000 bytes", b"canary" * 1000, "longer than"),
    ]:
        path = at.file(content)
        yield file(path, what, verb="check-config", status=REFUSED, says=("database.password-file", path, words), never=("canary",))
    os.mkfifo(f"{at.home}/fifo")
    for what, path, words in [("a folder", at.home, "folder"), ("no file", "/nowhere/secret", "does not exist"), ("a pipe", f"{at.home}/fifo", "pipe")]:
        yield file(path, what, verb="check-config", status=REFUSED, says=("database.password-file", path, words))


def variables(at):
    database = {"DATABASE_URL": f"postgres://app:simple@127.0.0.1:{at.postgres}/app"}
    yield Row("variables of Kubernetes and Docker", verb="run", env={
        **database, "HEALTHD_SERVICE_HOST": "10.0.0.1", "HEALTHD_SERVICE_PORT": "9798", "HEALTHD_SERVICE_PORT_HTTP": "9798", "HEALTHD_PORT": "tcp://10.0.0.1:9798",
        "HEALTHD_PORT_9798_TCP": "tcp://10.0.0.1:9798", "HEALTHD_PORT_9798_TCP_PROTO": "tcp", "HEALTHD_PORT_9798_TCP_PORT": "9798",
        "HEALTHD_PORT_9798_TCP_ADDR": "10.0.0.1", "HEALTHD_NAME": "/web/healthd", "HEALTHD_ENV_PATH": "/bin", "HEALTHD_API_SERVICE_HOST": "10.0.0.2",
        "HEALTHD_API_PORT_80_TCP": "tcp://10.0.0.2:80", "HEALTHD_API_PORT": "tcp://10.0.0.2:80"})
    for name, value in [("HEALTHD_PORT", "9798"), ("HEALTHD_DATABASE_ULR", "x"), ("HEALTHD_LISTEN_PORT", "9798")]:
        yield Row(f"{name}={value} is told", verb="check-config", status=REFUSED, env={**database, name: value}, says=(f"{name} is not a setting",))
