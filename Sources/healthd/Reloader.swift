import Logging
import Probes
import Synchronization
import Vitals

/// Reads the configuration again and puts in force what can change while running: thresholds, receivers, and where alerts link to.
///
/// A configuration with problems changes nothing. systemd is told in every path that the reload is over.
final class Reloader: Sendable {
    struct Status: Sendable {
        var succeeded: Bool
        /// Of the last success.
        var at: WallTime
        var digest: String
    }

    private struct State {
        var configuration: Configuration
        var status: Status
    }

    private let source: ConfigurationSource
    private let program: Program
    private let notifier: SystemdNotifier
    private let logger: Logger
    private let state: Mutex<State>
    /// One reload after the other, from reading to effect: of two at once (SIGHUP and a request) the older must not have the last word.
    private let turnstile = Mutex(())

    init(_ configuration: Configuration, source: ConfigurationSource, program: Program, notifier: SystemdNotifier, logger: Logger) {
        self.source = source
        self.program = program
        self.notifier = notifier
        self.logger = logger
        let status = Status(succeeded: true, at: program.time.wallNow(), digest: configuration.digest)
        state = Mutex(State(configuration: configuration, status: status))
    }

    var status: Status { state.withLock { $0.status } }

    /// - Returns: a sentence saying what took effect and what needs a restart.
    /// - Throws: `ConfigurationProblems`; the last good configuration stays in force.
    @discardableResult
    func reload() throws -> String {
        try turnstile.withLock { _ in try reloadAlone() }
    }

    private func reloadAlone() throws -> String {
        notifier.reloading()
        defer { notifier.reloaded() }
        do {
            let next = try source.load()
            let (difference, merged) = state.withLock { state in
                let difference = state.configuration.difference(to: next)
                state.configuration = state.configuration.reloaded(with: next)
                state.status = Status(succeeded: true, at: program.time.wallNow(), digest: state.configuration.digest)
                return (difference, state.configuration)
            }
            let rules = merged.boardRules(hasRedis: program.watchers.redis != nil)
            program.board.replace(rules: rules)
            program.dispatcher.replace(rules: rules.told)
            program.dispatcher.replace(externalURL: merged.link)
            program.dispatcher.replace(receivers: merged.receivers)
            logger.info("configuration reloaded", metadata: ["change": "\(difference.text)"])
            return difference.text
        } catch {
            state.withLock { $0.status.succeeded = false }
            logger.error("configuration rejected, the last good one stays", metadata: ["problems": "\(error)"])
            throw error
        }
    }
}
