import Glibc

/// Runs a program to its end and answers its standard output; its complaints are in the error.
public func run(_ program: String, _ arguments: [String]) async throws -> String {
    let (output, status) = await onOwnThread { () -> (String, Int32) in
        var ends: [Int32] = [0, 0]
        guard makePipe(&ends) else { return ("no pipe, errno \(errno)", -1) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
        var argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        var pid: pid_t = 0
        let failure = posix_spawnp(&pid, program, &actions, nil, &argv, environ)
        close(ends[1])
        defer { close(ends[0]) }
        guard failure == 0 else { return ("cannot start \(program), error \(failure)", -1) }
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4_096)
        while case let count = read(ends[0], &chunk, chunk.count), count > 0 { output += chunk[..<count] }
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        return (String(decoding: output, as: UTF8.self), status)
    }
    guard status == 0 else { throw TestServerError("\(program) failed (\(status)): \(output)") }
    return output.hasSuffix("\n") ? String(output.dropLast()) : output
}
