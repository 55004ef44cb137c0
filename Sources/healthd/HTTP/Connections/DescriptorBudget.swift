/// How the descriptors this process may open are shared out: what the program itself needs is kept free, the rest is for HTTP connections.
///
/// So clients can never take the descriptor with which a database is asked, an alert is sent or a file is read.
struct DescriptorBudget: Sendable, Hashable {
    /// The soft limit is raised to the hard one, but not beyond this: there are systems with a hard limit of a billion, and programs, of those
    /// we start ourselves, that go through all numbers up to the limit.
    static let mostUseful = 65_536

    /// Below this the program does not start: it could not serve a handful of clients beside its own work.
    static let fewest = 64

    /// Each costs 25 kB of memory while it is idle (measured with 4,000), and the unit allows 256 MiB in all.
    static let mostConnections = 2_048

    /// Always allowed, though it be more than is left: without a few nobody could ask what is wrong.
    static let fewestConnections = 16

    /// What the program opens by and by, beside what it counts.
    struct Needs: Sendable, Hashable {
        /// Connections of the pool at its largest.
        var pool: Int
        var receivers: Int
        /// Of the machine, `HTTPLoops.most` at most: an event loop of the HTTP server for each.
        var cores: Int

        /// The rest of what is known: the listener; Dispatch and signals (8); the probes' own connections and Redis (4), with those that cancel
        /// (2); names being resolved (4); SQLite's files (4); the configuration and its secrets read again (2); connections
        /// accepted while the one they replace is being closed, and what was forgotten (7).
        static let other = 32

        var sum: Int {
            // A receiver: a connection, and one more while another address is tried. A loop of the server: epoll, eventfd, timerfd. One of ours
            // (four at most): epoll and eventfd.
            pool + 2 * receivers + 3 * cores + 2 * min(cores, 4) + Self.other
        }
    }

    /// Of open descriptors.
    var limit: Int
    /// Open before any of `needs` is.
    var open: Int
    var needs: Needs

    private var left: Int { limit - open - needs.sum }

    /// HTTP connections at once.
    var connections: Int { min(Self.mostConnections, max(Self.fewestConnections, left)) }

    /// Streams at once: never all connections, so that somebody can always ask.
    func streams(wanted: Int) -> Int { min(wanted, connections / 2) }

    /// Whether it is the descriptors that bound the connections.
    var isShort: Bool { left < Self.mostConnections }

    /// By how many descriptors the limit is too low for what the configuration asks for; nil when it is not.
    var missing: Int? { left < Self.fewestConnections ? Self.fewestConnections - left : nil }
}
