import Blackbox
import FoundationEssentials
import Glibc
import TestServers
import Testing
import Vitals

/// What systemd sees of healthd: the shipped unit under a real systemd 252, with real databases beside it.
@Suite(
    .serialized, .inTurn, .timeLimit(.minutes(5)),
    .enabled(if: SystemdLab.isPossible, "booting a systemd takes root and the package systemd"))
struct SystemdTests {
    @Test func `the unit is without fault, and exposed as little as promised`() async throws {
        try await InstalledHealthd.with(start: false) { installed async throws in
            let unit = "/etc/systemd/system/healthd.service"
            let verify = try await installed.lab.run("systemd-analyze", "verify", unit)
            #expect(verify.status == 0)
            #expect(verify.output == "")
            // In tenths: at most 1.5.
            let security = try await installed.lab.run("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", unit)
            #expect(security.status == 0, "\(security.output.suffix(200))")
        }
    }

    @Test func `ready is said once requests are answered, and the status says how things stand`() async throws {
        try await InstalledHealthd.with { installed async throws in
            // `systemctl start` came back a moment ago: whoever was waiting for the unit may connect now.
            #expect(try await installed.web.get("/livez").status == 200)
            #expect(try await installed.lab.property("ActiveState") == "active")
            #expect(try await installed.lab.property("Type") == "notify")
            try await eventually("the status line") { try await !installed.lab.property("StatusText").isEmpty }
            try await eventually("all is well") { try await installed.web.get("/api/health").json["status"].string == "pass" }
        }
    }

    @Test func `a frozen daemon is replaced within WatchdogSec and a second`() async throws {
        try await InstalledHealthd.with { installed async throws in
            // Two of its own periods with pings, so that the freeze comes in the middle of ordinary life.
            try await steadily("no restart", for: InstalledHealthd.watchdog * 2) { try await installed.restarts == 0 }
            let frozen = try await installed.mainPID
            try await installed.lab.run("systemctl", "kill", "--signal=STOP", "--kill-whom=main", "healthd")
            let took = try await eventually("another one answers") {
                let now = try await installed.mainPID
                guard now != frozen, now > 0 else { return false }
                return try await installed.web.get("/livez", within: .milliseconds(300)).status == 200
            }
            let limit = InstalledHealthd.watchdog + promise(.seconds(1), "a frozen daemon is replaced within WatchdogSec and a second")
            #expect(took < limit, "it took \(took)")
            #expect(try await installed.restarts == 1)
            #expect(try await installed.lab.journal().contains("Watchdog timeout"))
        }
    }

    @Test func `databases that are down or frozen are no reason to restart`() async throws {
        try await InstalledHealthd.with { installed async throws in
            installed.postgres.freeze()
            installed.redis.freeze()
            defer {
                installed.postgres.thaw()
                installed.redis.thaw()
            }
            try await eventually("the verdict is critical") { try await installed.web.get("/api/health").json["status"].string == "fail" }
            let before = try await installed.mainPID
            try await steadily("answering, the same process", for: InstalledHealthd.watchdog * 4) {
                let alive = try await installed.web.get("/livez").status == 200
                return try await installed.mainPID == before && alive
            }
            #expect(try await installed.restarts == 0)
        }
    }

    @Test func `it starts and is ready while PostgreSQL is frozen`() async throws {
        try await InstalledHealthd.with(start: false) { installed async throws in
            installed.postgres.freeze()
            defer { installed.postgres.thaw() }
            let started = try await judged(below: .seconds(2), tries: 1) { try await timed { try await installed.start() } }
            #expect(started.holds, "\(started)")
            try await eventually("the status says so") {
                try await installed.lab.property("StatusText").lowercased().contains("postgres")
            }
        }
    }

    @Test func `a bad configuration stops the start, and is not tried again`() async throws {
        try await InstalledHealthd.with(start: false) { installed async throws in
            try installed.writeConfiguration("listen: nowhere\ndatabase: { pool: { maximum: 3 } }\n")
            let outcome = try await installed.lab.run("systemctl", "start", "healthd")
            #expect(outcome.status != 0)
            #expect(try await installed.lab.property("ExecMainStatus") == "78")
            #expect(try await installed.lab.property("ActiveState") == "failed")
            try await steadily("left alone", for: .seconds(3)) { try await installed.restarts == 0 }
            let journal = try await installed.lab.journal()
            #expect(journal.contains("listen"))
            #expect(journal.contains("database.pool.maximum"))
            // Told as errors: whoever asks the journal for those finds them.
            let errors = try await installed.lab.entries("--priority", "err").compactMap { $0["MESSAGE"].string }
            #expect(errors.contains { $0.contains("database.pool.maximum") }, "\(errors)")
        }
    }

    @Test func `while all is well the journal holds no warning, and a saturation with its numbers as fields`() async throws {
        let rules = "rules: { pool-saturation: { degraded: 0.80, critical: 0.95, leave: 0.70, enter-after: 0s, leave-after: 1s } }"
        try await InstalledHealthd.with(rules, poolMax: 2, start: false) { installed async throws in
            try await installed.migrate()
            try await installed.start()
            let isWell = { try await installed.web.get("/api/health").json["status"].string == "pass" }
            try await eventually("all is well", isWell)
            #expect(try await installed.lab.run("systemctl", "reload", "healthd").status == 0)
            #expect(try await installed.lab.run("systemctl", "restart", "healthd").status == 0)
            try await eventually("all is well again", isWell)
            try await steadily("well", for: .seconds(2), isWell)
            #expect(try await installed.lab.entries("--priority", "warning").map { $0["MESSAGE"].string } == [])
            let serving = try #require(try await installed.lab.entries().last { $0["MESSAGE"].string?.hasPrefix("serving") == true })
            #expect(serving["PRIORITY"].string == "6")
            #expect(serving["SYSLOG_IDENTIFIER"].string == "healthd")
            #expect(serving["CODE_FILE"].string == "healthd/Lifecycle.swift")
            #expect(Int(serving["CODE_LINE"].string ?? "") != nil)
            #expect(serving["_TRANSPORT"].string == "journal")

            try await installed.whileTheWorkspacesAreLocked {
                let entry = try await eventuallySome("a saturation in the journal") {
                    try await installed.lab.entries("--priority", "warning", "HEALTHD_RULE=pool-saturation").last
                }
                #expect(["3", "4"].contains(entry["PRIORITY"].string))
                #expect(entry["HEALTHD_UNIT"].string == "ratio")
                #expect(entry["HEALTHD_MAX"].string == "2")
                let number = { (name: String) in Double(entry["HEALTHD_\(name)"].string ?? "") ?? -1 }
                #expect(number("VALUE") >= number("THRESHOLD") && number("THRESHOLD") >= 0.8)
                #expect(number("LEASED") >= 1 && number("WAITING") >= 0)
                #expect(entry["HEALTHD_REASON"].string?.isEmpty == false)
            }
        }
    }

    @Test func `a journal that is frozen stops nothing, and later says what it lacks`() async throws {
        try await InstalledHealthd.with { installed async throws in
            let before = try await installed.mainPID
            let problems = (0..<60).map { "unknown-setting-number-\($0): { with: a value }" }.joined(separator: "\n")
            try await installed.lab.run("systemctl", "kill", "--signal=STOP", "--kill-whom=main", "systemd-journald")
            do {
                try installed.writeConfiguration(problems)
                // Each is refused with a long entry.
                for _ in 0..<400 { _ = try await installed.web.post("/-/reload", "", within: .seconds(5)) }
                // Systemd is still told that we are alive.
                try await steadily("answering, the same process", for: InstalledHealthd.watchdog * 3) {
                    let alive = try await installed.web.get("/livez").status == 200
                    return try await installed.mainPID == before && alive
                }
            } catch {
                try await installed.lab.run("systemctl", "kill", "--signal=CONT", "--kill-whom=main", "systemd-journald")
                throw error
            }
            try await installed.lab.run("systemctl", "kill", "--signal=CONT", "--kill-whom=main", "systemd-journald")
            let entry = try await eventuallySome("what is missing") {
                try await installed.lab.entries("HEALTHD_PART=log").last { $0["MESSAGE"].string?.contains("did not keep up") == true }
            }
            #expect((Int(entry["HEALTHD_LINES"].string ?? "") ?? 0) > 0)
            #expect(try await installed.restarts == 0)
        }
    }

    @Test func `a person's restarts are never refused`() async throws {
        try await InstalledHealthd.with { installed async throws in
            for number in 1...12 {
                let outcome = try await installed.lab.run("systemctl", "restart", "healthd")
                #expect(outcome.status == 0, "restart \(number): \(outcome.output)")
            }
            #expect(try await installed.lab.property("ActiveState") == "active")
        }
    }

    @Test func `a start is tried until the port is free`() async throws {
        try await InstalledHealthd.with(start: false) { installed async throws in
            let squatter = try Squatter(port: installed.port)
            let outcome = try await installed.lab.run("systemctl", "start", "healthd")
            #expect(outcome.status != 0, "the person who starts it is told at once")
            // More failures than the burst that systemd would allow by itself (5 in 10 s).
            try await eventually("tried again and again", within: .seconds(30)) { try await installed.restarts >= 12 }
            #expect(try await installed.lab.journal().contains("cannot listen on 127.0.0.1:\(installed.port): address already in use"))
            // 0 while an attempt is under way.
            try await eventually("an attempt ended with 1") { try await installed.lab.property("ExecMainStatus") == "1" }
            squatter.leave()
            try await eventually("active") { try await installed.lab.property("ActiveState") == "active" }
            #expect(try await installed.web.get("/livez").status == 200)
        }
    }

    @Test func `stop ends the trying`() async throws {
        try await InstalledHealthd.with(start: false) { installed async throws in
            let squatter = try Squatter(port: installed.port)
            try await installed.lab.run("systemctl", "start", "healthd")
            try await eventually("tried again") { try await installed.restarts >= 2 }
            #expect(try await installed.lab.run("systemctl", "stop", "healthd").status == 0)
            squatter.leave()
            try await steadily("left alone", for: .seconds(3)) {
                try await ["inactive", "failed"].contains(installed.lab.property("ActiveState"))
            }
        }
    }

    @Test func `a reload takes new thresholds, and keeps the old ones when the new are wrong`() async throws {
        let rules = { (degraded: String) in
            "rules: { pool-saturation: { degraded: \(degraded), critical: 0.95, leave: 0.20, enter-after: 0s, leave-after: 1s } }"
        }
        try await InstalledHealthd.with(rules("0.80")) { installed async throws in
            let process = try await installed.mainPID
            #expect(try await installed.threshold() == 0.80)

            try installed.configure(rules("0.60"))
            #expect(try await installed.lab.run("systemctl", "reload", "healthd").status == 0)
            #expect(try await installed.threshold() == 0.60)

            try installed.configure(rules("plenty"))
            let outcome = try await installed.lab.run("systemctl", "reload", "healthd")
            #expect(outcome.status != 0)
            #expect(try await installed.threshold() == 0.60)
            #expect(try await installed.lab.property("ActiveState") == "active")
            #expect(try await installed.mainPID == process)
            #expect(try await installed.lab.journal().contains("pool-saturation.degraded"))

            // Again and again: a reload never hangs, and says what came of it.
            try installed.configure(rules("0.50"))
            for _ in 1...20 {
                #expect(try await installed.lab.run("timeout", "10", "systemctl", "reload", "healthd").status == 0)
            }
            #expect(try await installed.threshold() == 0.50)
            #expect(try await installed.restarts == 0)
        }
    }

    @Test func `a saturated pool stands in the status of the unit`() async throws {
        let rules = "rules: { pool-saturation: { degraded: 0.80, critical: 0.95, leave: 0.70, enter-after: 0s, leave-after: 1s } }"
        try await InstalledHealthd.with(rules, poolMax: 2) { installed async throws in
            try await installed.migrate()
            try await installed.whileTheWorkspacesAreLocked {
                try await eventually("the critical line") {
                    let status = try await installed.lab.run("systemctl", "status", "--no-pager", "healthd").output
                    return status.split(separator: "\n").contains { $0.contains("Status:") && $0.lowercased().contains("critical") && $0.contains("pool") }
                }
            }
            try await eventually("it is gone again") { try await !installed.lab.property("StatusText").lowercased().contains("critical") }
        }
    }

    @Test func `stopping is quick and clean`() async throws {
        try await InstalledHealthd.with { installed async throws in
            let stopped = try await judged(below: .seconds(3), tries: 1) {
                try await timed { () async throws in #expect(try await installed.lab.run("systemctl", "stop", "healthd").status == 0) }
            }
            #expect(stopped.holds, "\(stopped)")
            // A stopped unit that is not enabled may be unloaded, and its properties with it; the journal stays.
            let journal = try await installed.lab.journal()
            #expect(journal.contains("Deactivated successfully"), "\(journal.suffix(2_000))")
            #expect(journal.contains("stopped"), "the daemon did not come to its own end")
            #expect(try await installed.restarts == 0)
        }
    }
}

/// Somebody else who listens on the port; shares the network with the lab.
private final class Squatter: Sendable {
    private let descriptor: Int32

    init(port: Int) throws {
        descriptor = try listeningSocket(port: port)
    }

    /// Once.
    func leave() { close(descriptor) }
}
