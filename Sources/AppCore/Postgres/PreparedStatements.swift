/// Whether statements that come again get a name on the server, so that it need not parse them again.
public enum PreparedStatements: String, Sendable, CaseIterable {
    /// Named, unless a pooler stands between: in transaction mode each transaction may meet a server that does not know the name.
    case auto
    /// Always. For PgBouncer 1.21 or newer with `max_prepared_statements`, or in session mode.
    case on
    /// Never.
    case off

    func areNamed(behindPooler: Bool) -> Bool {
        switch self {
        case .auto: !behindPooler
        case .on: true
        case .off: false
        }
    }
}
