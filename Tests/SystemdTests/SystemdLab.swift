import Blackbox
import FoundationEssentials
import Glibc
import TestServers

/// A real systemd, booted for a test in namespaces of its own; see lab/lab.sh. Gone with this object.
final class SystemdLab: Sendable {
    /// Whether this machine can boot one: it takes root, and the package systemd.
    static let isPossible = geteuid() == 0 && FileManager.default.isExecutableFile(atPath: "/lib/systemd/systemd")

    /// systemd's process, as the machine sees it.
    let pid: pid_t

    private let program: Program
    private let folder: TemporaryFolder

    /// - Parameter showing: files and folders of the machine, by the place where the lab shows them.
    static func boot(showing: [String: String]) async throws -> SystemdLab {
        let folder = try TemporaryFolder("systemd")
        let script = "\(Healthd.root)/Tests/SystemdTests/lab/lab.sh"
        let binds = showing.map { "\($0.value):\($0.key)" }.joined(separator: " ")
        let program = try Program([script, folder.path], log: "\(folder.path)/answer", environment: ["LAB_BIND": binds])
        let pid = try await eventuallySome("systemd is up", within: .seconds(60)) { () -> pid_t? in
            let words = program.output.split(separator: "\n").last?.split(separator: " ") ?? []
            if words.first == "up", words.count == 3 { return pid_t(words[1]) }
            guard program.exitStatus == nil else { throw TestServerError(program.output) }
            return nil
        }
        return SystemdLab(pid: pid, program: program, folder: folder)
    }

    private init(pid: pid_t, program: Program, folder: TemporaryFolder) {
        self.pid = pid
        self.program = program
        self.folder = folder
    }

    /// Takes it down and waits until it is.
    func down() async throws {
        try await program.end()
    }

    struct Outcome: Sendable {
        var status: Int32
        var output: String
    }

    /// Runs a command inside; its output and its complaints in one text.
    @discardableResult
    func run(_ words: String...) async throws -> Outcome {
        try await run(words)
    }

    private func run(_ words: [String]) async throws -> Outcome {
        let marker = "lab-status:"
        let command = ["nsenter", "-t", "\(pid)", "-m", "-u", "-i", "-p", "-n", "-C", "--"] + words
        let script = "\"$@\" </dev/null 2>&1; echo \"\(marker)$?\""
        let output = try await TestServers.run("sh", ["-c", script, "sh"] + command)
        guard let at = output.ranges(of: marker).last else { throw TestServerError(output) }
        var text = String(output[..<at.lowerBound])
        if text.hasSuffix("\n") { text.removeLast() }
        return Outcome(status: Int32(output[at.upperBound...]) ?? -1, output: text)
    }

    /// Writes a file inside, and the folders above it.
    func write(_ text: String, to path: String, mode: mode_t = 0o644) throws {
        let file = "/proc/\(pid)/root\(path)"
        let parent = file.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
        try text.write(toFile: file, atomically: false, encoding: .utf8)
        chmod(file, mode)
    }

    /// A property of a unit, as `systemctl show` says it.
    func property(_ name: String, of unit: String = "healthd.service") async throws -> String {
        try await run("systemctl", "show", "-P", name, unit).output
    }

    /// What the unit has written to the journal, and systemd about it.
    func journal(of unit: String = "healthd.service") async throws -> String {
        try await run("journalctl", "--unit", unit, "--no-pager", "--output", "cat").output
    }

    /// Entries of the journal about a unit, with all their fields, oldest first.
    ///
    /// - Parameter choice: further arguments to journalctl.
    func entries(_ choice: String..., of unit: String = "healthd.service") async throws -> [JSON] {
        // All fields, also the long ones.
        let words = ["journalctl", "--unit", unit, "--no-pager", "--output", "json", "--all"] + choice
        let output = try await run(words).output
        return try output.split(separator: "\n").filter { $0.hasPrefix("{") }.map { try JSON(String($0)) }
    }
}
