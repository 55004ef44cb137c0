import FoundationEssentials
import Glibc
import TestServers
import Testing
import Vitals

@testable import healthd

/// Secrets as editors, `echo`, Windows and orchestrators leave them in files.
@Suite struct `A secret's file` {
    private func secret(_ text: FileText) -> (Secret?, [String]) {
        var reader = SettingReader(file: nil, environment: ["HEALTHD_CACHE_PASSWORD_FILE": "/s"])
        let files = SecretFiles(credentialsDirectory: nil) { _ in text }
        let secret = files.read("cache.password-file", what: "the password of Redis", &reader)
        return (secret, reader.problems.map(\.description))
    }

    @Test(arguments: ["s3cret", "s3cret\n", "s3cret\r\n", "s3cret\r", "\u{FEFF}s3cret", "\u{FEFF}s3cret\r\n"])
    func `is its text without a byte order mark and one line end`(text: String) {
        let (secret, problems) = secret(.text(text))
        #expect(secret == Secret("s3cret"), "\(problems)")
    }

    @Test(arguments: [" s3cret ", "s3cret\t", "e\u{301}\u{FEFF}x"])
    func `keeps everything else`(text: String) {
        #expect(secret(.text(text)).0 == Secret(text))
    }

    @Test(
        arguments: [
            ("", "is empty; expected the password of Redis"), ("\n", "is empty; expected the password of Redis"),
            ("\r\n", "is empty; expected the password of Redis"), ("\u{FEFF}\n", "is empty; expected the password of Redis"),
            ("a\nb", "has more than one line; expected the secret alone"), ("a\r\nb", "has more than one line; expected the secret alone"),
            ("a\rb", "has more than one line; expected the secret alone"), ("a\n\n", "has more than one line; expected the secret alone"),
            ("a\r\n\r\n", "has more than one line; expected the secret alone"), ("\na", "has more than one line; expected the secret alone"),
            ("a\0b", "holds a zero byte; expected text"), (String(repeating: "x", count: 4_097), "is longer than 4096 bytes"),
        ])
    func `with anything else is refused in one sentence`(text: String, complaint: String) {
        let (secret, problems) = secret(.text(text))
        #expect(secret == nil)
        #expect(problems == ["HEALTHD_CACHE_PASSWORD_FILE: cache.password-file names /s, which \(complaint)"])
    }

    @Test func `that is no file says what it is`() throws {
        let folder = try ScratchFolder()
        defer { folder.remove() }
        #expect(readFile(folder.path, limit: 10) == .unreadable(reason: "it is a folder"))
        #expect(readFile("\(folder.path)/none", limit: 10) == .missing)
        mkfifo("\(folder.path)/pipe", 0o600)
        #expect(readFile("\(folder.path)/pipe", limit: 10) == .unreadable(reason: "it is a pipe, a socket or a device, not a file"))
        #expect(mknod("\(folder.path)/socket", S_IFSOCK | 0o600, 0) == 0)
        #expect(readFile("\(folder.path)/socket", limit: 10) == .unreadable(reason: "it is a pipe, a socket or a device, not a file"))
        #expect(readFile("/dev/null", limit: 10) == .unreadable(reason: "it is a pipe, a socket or a device, not a file"))
        symlink("nowhere", "\(folder.path)/dangling")
        #expect(readFile("\(folder.path)/dangling", limit: 10) == .missing)
        symlink("loop", "\(folder.path)/loop")
        #expect(readFile("\(folder.path)/loop", limit: 10) == .unreadable(reason: "Too many levels of symbolic links"))
        try Data([0xFF, 0xFE, 0x61, 0x00]).write(to: URL(filePath: "\(folder.path)/utf16"))
        #expect(readFile("\(folder.path)/utf16", limit: 10) == .notUTF8([0xFF, 0xFE, 0x61, 0x00]))
        #expect(secret(.notUTF8([0xFF])).1 == ["HEALTHD_CACHE_PASSWORD_FILE: cache.password-file names /s, which cannot be read: it is not UTF-8 text"])
        #expect(readFile("\(folder.path)/utf16", limit: 4) == .notUTF8([0xFF, 0xFE, 0x61, 0x00]))
        #expect(readFile("\(folder.path)/utf16", limit: 3) == .unreadable(reason: "it is longer than 3 bytes"))
    }
}

private struct ScratchFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/healthd-secrets-XXXXXX".utf8CString)
        path = try String(cString: #require(mkdtemp(&template)))
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }
}

@Suite struct `Variables of a service called healthd` {
    @Test(arguments: [
        ("HEALTHD_SERVICE_HOST", "10.0.0.1"), ("HEALTHD_SERVICE_PORT", "9798"), ("HEALTHD_SERVICE_PORT_HTTP", "9798"),
        ("HEALTHD_PORT", "tcp://10.0.0.1:9798"), ("HEALTHD_PORT_9798_TCP", "tcp://10.0.0.1:9798"), ("HEALTHD_PORT_9798_TCP_PROTO", "tcp"),
        ("HEALTHD_PORT_9798_TCP_PORT", "9798"), ("HEALTHD_PORT_9798_TCP_ADDR", "10.0.0.1"), ("HEALTHD_PORT_53_UDP", "udp://10.0.0.1:53"),
        ("HEALTHD_NAME", "/web/healthd"), ("HEALTHD_ENV_PATH", "/usr/bin"), ("HEALTHD_API_SERVICE_HOST", "10.0.0.2"),
        ("HEALTHD_API_SERVICE_PORT_HTTPS", "443"), ("HEALTHD_API_PORT", "tcp://10.0.0.2:80"), ("HEALTHD_API_PORT_80_TCP_ADDR", "10.0.0.2"),
        ("HEALTHD_2_PORT_9798_SCTP_PORT", "1"),
    ])
    func `are no settings and no problem`(name: String, value: String) {
        #expect(problems(nil, [name: value]) == [])
    }

    @Test(arguments: [
        ("HEALTHD_PORT", "9798"), ("HEALTHD_LISTEN_PORT", "9798"), ("HEALTHD_NAME", "web"), ("HEALTHD_SERVICE", "x"), ("HEALTHD_SERVICE_HOSTS", "x"),
        ("HEALTHD_PORT_TCP", "tcp://1.2.3.4:5"), ("HEALTHD_CACHE_ULR", "redis://h"), ("HEALTHD_service_host", "x"), ("HEALTHD_", "x"),
    ])
    func `do not hide a misspelt setting`(name: String, value: String) {
        let found = problems(nil, [name: value])
        #expect(found.count == 1 && found[0].hasPrefix("\(name) is not a setting"), "\(found)")
    }
}
