import Vitals

/// Opens connections to one server, or to the one of several that libpq's rules choose. Never blocks the caller's thread or the loop.
///
/// libpq walks a list of hosts by itself, with its own rules about who is acceptable (`target_session_attrs`) and after which error to go
/// on. Two things it cannot do here: resolve names without blocking, so each name is replaced by its addresses first; and leave a
/// host that does not answer, so such a host is taken off the list after its share of the time and the walk begins again.
struct PostgresConnector: Sendable {
    let endpoint: PostgresEndpoint
    let applicationName: String
    let loop: EventLoop
    let calls: BlockingCalls
    var prepared = PreparedStatements.auto
    let memory = ConnectorMemory()
    var onNotices: (@Sendable ([ServerNotice]) -> Void)?

    /// A host that was silent the last time gets no more than this.
    private static let silentShare = Duration.milliseconds(500)

    /// - Parameter reachedBy: when the one host there is must have been reached, if that is earlier; several must have let us in by then.
    /// - Throws: `PostgresError.connectFailed` with the server's own words, or `.connectTimedOut`.
    func connect(until deadline: Deadline, reachedBy: Deadline = .never) async throws -> PostgresConnection {
        let connection = PostgresConnection(
            established: try await walk(until: deadline, reachedBy: reachedBy), loop: loop, calls: calls, onNotices: onNotices)
        do {
            try await connection.setUp(prepared, memory: memory, until: deadline)
        } catch {
            connection.close()
            guard case PostgresError.deadlineExceeded(let waited) = error else { throw error }
            throw PostgresError.connectTimedOut("\(endpoint.description), which let us in", after: waited)
        }
        return connection
    }

    private func walk(until deadline: Deadline, reachedBy: Deadline) async throws -> LibpqConnection {
        guard let given = HostList(endpoint.keywords) else {
            return try await attempt(nil, shares: [], until: deadline, reachedBy: reachedBy).get()
        }
        var (hosts, complaints) = await resolved(given, until: min(deadline, reachedBy))
        // One that lets us wait must not keep us from the others.
        let deadline = hosts.entries.count > 1 ? min(deadline, reachedBy) : deadline
        guard !hosts.entries.isEmpty else { throw PostgresError.connectFailed(complaints.joined(separator: "; "), sqlState: nil) }
        let silent = memory.silentOnes(now: .now())
        hosts.entries = hosts.entries.filter { !silent.contains($0) } + hosts.entries.filter { silent.contains($0) }
        while true {
            let share = hosts.entries.count > 1 ? deadline.remaining(at: .now()) / hosts.entries.count : nil
            let shares = hosts.entries.map { entry in share.map { silent.contains(entry) ? min($0, Self.silentShare) : $0 } }
            switch await attempt(hosts, shares: shares, until: deadline, reachedBy: reachedBy) {
            case .established(let libpq): return libpq
            case .failed(.connectFailed(let reason, let sqlState)):
                throw PostgresError.connectFailed((complaints + [reason]).joined(separator: "; "), sqlState: sqlState)
            case .failed(.connectTimedOut(let server, let waited)):
                throw PostgresError.connectTimedOut((complaints + [server]).joined(separator: "; "), after: waited)
            case .failed(let error): throw error
            case .silent(let current, let waited):
                let entry = hosts.entries.remove(at: hosts.index(of: current))
                memory.silent(entry, now: .now())
                complaints.append("\(entry) did not answer within \(waited.text)")
                guard !hosts.entries.isEmpty else { throw PostgresError.connectFailed(complaints.joined(separator: "; "), sqlState: nil) }
            }
        }
    }

    private func attempt(_ hosts: HostList?, shares: [Duration?], until deadline: Deadline, reachedBy: Deadline) async -> Handshake.Outcome {
        var keywords = hosts?.keywords(endpoint.keywords) ?? endpoint.keywords
        if let password = endpoint.password { keywords["password"] = password.reveal() }
        // Anew for each attempt, as libpq reads the file anew.
        let passwordFile = PasswordFile(of: endpoint)
        if let passwordFile { keywords["passfile"] = passwordFile.keyword }
        keywords["fallback_application_name"] = applicationName
        keywords["client_encoding"] = "UTF8"
        guard let libpq = LibpqConnection(startingWith: keywords.map { ($0.key, $0.value) }) else {
            return .failed(.connectFailed("out of memory", sqlState: nil))
        }
        let outcome = await Handshake(libpq, hosts: hosts, shares: shares, loop: loop).complete(until: deadline, reachedBy: reachedBy)
        if case .failed(.connectFailed(let reason, let sqlState)) = outcome, libpq.needsPassword, let why = passwordFile?.whyNoPassword {
            return .failed(.connectFailed("\(reason); \(why)", sqlState: sqlState))
        }
        return outcome
    }

    /// Names replaced by all their addresses; those that have none are left out, and named. Of several names none may take more than half
    /// of the time.
    private func resolved(_ list: HostList, until deadline: Deadline) async -> (HostList, complaints: [String]) {
        let names = Set(list.entries.compactMap(\.nameToResolve))
        guard !names.isEmpty else { return (list, []) }
        let now = MonotonicInstant.now()
        let limit = list.entries.count > 1 ? Deadline(now + deadline.remaining(at: now) / 2) : deadline
        let answers = await withTaskGroup(of: Resolution.self) { group in
            for name in names {
                group.addTask { [calls] in await Resolution(of: name, by: NameResolver(calls: calls), until: limit) }
            }
            return await group.reduce(into: [:]) { $0[$1.name] = $1.addresses }
        }
        var entries: [HostEntry] = []
        var complaints: [String] = []
        for entry in list.entries {
            guard let name = entry.nameToResolve else {
                entries.append(entry)
                continue
            }
            switch answers[name] {
            case .success(let addresses)?: entries += addresses.map { HostEntry(host: entry.host, address: $0, port: entry.port) }
            case .failure(let error)?: complaints.append("\(error)")
            case nil: break
            }
        }
        return (HostList(entries: entries), complaints)
    }
}

/// What came of looking one name up.
///
/// Not a tuple: swiftc 6.3.1 with -O loses what an asynchronous closure returns if that is a tuple with a reference in it, made in both arms
/// of a do/catch around an `await`. The parent then reads what was never written. TidyTests keeps task groups of tuples out.
private struct Resolution: Sendable {
    let name: String
    let addresses: Result<[String], any Error>

    init(of name: String, by resolver: NameResolver, until limit: Deadline) async {
        self.name = name
        do {
            addresses = .success(try await resolver.addresses(of: name, until: limit))
        } catch {
            addresses = .failure(error)
        }
    }
}
