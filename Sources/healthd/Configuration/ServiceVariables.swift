/// Whether an orchestrator has set this variable, for a service or a link that is called healthd, or healthd-something.
///
/// Kubernetes: `HEALTHD_SERVICE_HOST=10.0.0.1`, `HEALTHD_SERVICE_PORT_HTTP=9798`, `HEALTHD_PORT=tcp://10.0.0.1:9798`,
/// `HEALTHD_PORT_9798_TCP_ADDR=10.0.0.1`. Docker's links: the last two, `HEALTHD_NAME=/web/healthd`, `HEALTHD_ENV_PATH=…`. Where a name could be a
/// misspelt setting, the value decides.
///
/// Source: Kubernetes, "Discovering services: environment variables"; Docker, "Legacy container links".
func isServiceVariable(_ name: String, _ value: String) -> Bool {
    let isAddress = ["tcp://", "udp://", "sctp://"].contains { value.hasPrefix($0) }
    if name.wholeMatch(of: /HEALTHD(_[A-Z0-9_]+)?_SERVICE_HOST/) != nil { return true }
    if name.wholeMatch(of: /HEALTHD(_[A-Z0-9_]+)?_SERVICE_PORT(_[A-Z0-9_]+)?/) != nil { return true }
    let port = /HEALTHD(_[A-Z0-9_]+)?_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR|START|END|PORT_START|PORT_END))?/
    if name.wholeMatch(of: port) != nil { return true }
    if name.wholeMatch(of: /HEALTHD(_[A-Z0-9_]+)?_PORT/) != nil { return isAddress }
    if name.wholeMatch(of: /HEALTHD(_[A-Z0-9_]+)?_NAME/) != nil { return value.hasPrefix("/") }
    return name.wholeMatch(of: /HEALTHD(_[A-Z0-9_]+)?_ENV_.+/) != nil
}
