/// The settings of a task worker.
public struct TaskConfiguration: Sendable, Hashable {
    /// Tasks that may run at once in this process.
    public var concurrency: Int
    /// Of those, tasks of one workspace.
    public var perWorkspace: Int
    /// A worker that does not renew a claim for this long has lost it.
    public var lease: Duration
    /// What one step may take.
    public var step: Duration
    /// How often the table is asked for work that others put there.
    public var poll: Duration
    /// A task is failed when so many attempts at it have ended badly: its worker vanished, or what it needs failed. One that was given
    /// back, because it was paused, its worker stopped, or there was no connection for it, is none of them.
    public var attempts: Int

    public init(
        concurrency: Int = 50, perWorkspace: Int = 8, lease: Duration = .seconds(15), step: Duration = .seconds(30),
        poll: Duration = .seconds(1), attempts: Int = 5
    ) {
        precondition(concurrency >= 1 && perWorkspace >= 1 && attempts >= 1 && lease > poll, "a worker needs room, attempts and a lease longer than a poll")
        self.concurrency = concurrency
        self.perWorkspace = perWorkspace
        self.lease = lease
        self.step = step
        self.poll = poll
        self.attempts = attempts
    }
}
