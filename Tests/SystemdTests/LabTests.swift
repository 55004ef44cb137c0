import TestServers
import Testing

extension SystemdTests {
    @Test func `the lab runs units, hands them credentials, and leaves nothing`() async throws {
        let lab = try await SystemdLab.boot(showing: [:])
        try lab.write("s3cret", to: "/etc/lab.secret", mode: 0o600)
        try lab.write(
            """
            [Service]
            Type=oneshot
            RemainAfterExit=yes
            DynamicUser=yes
            LoadCredential=word:/etc/lab.secret
            ExecStart=/bin/sh -c 'cat "$CREDENTIALS_DIRECTORY/word"; id -u'
            """, to: "/etc/systemd/system/trial.service")
        try await lab.run("systemctl", "daemon-reload")
        #expect(try await lab.run("systemctl", "start", "trial").status == 0)
        #expect(try await lab.property("ActiveState", of: "trial.service") == "active")
        #expect(try await lab.journal(of: "trial.service").contains("s3cret"))
        #expect(try await lab.run("sh", "-c", "exit 7").status == 7)
        try await lab.down()
        #expect(try await TestServers.run("sh", ["-c", "ls -d /proc/\(lab.pid) 2>/dev/null; grep -c healthd-test-systemd /proc/mounts; true"]) == "0")
    }
}
