import Glibc
import TestServers
import Testing
import Vitals

@testable import AppCore

/// Several servers in one endpoint, their names, and those that do not answer.
@Suite("Hosts")
struct HostListTests {
    private let later = Deadline(.now() + .seconds(10))

    @Test func `a list is read and written as libpq has it`() throws {
        let keywords = ["host": "db1,/run/pg,,10.0.0.1", "port": "1,2,,4", "dbname": "d"]
        let list = try #require(HostList(keywords))
        #expect(
            list.entries == [
                HostEntry(host: "db1", port: "1"), HostEntry(host: "/run/pg", port: "2"), HostEntry(),
                HostEntry(host: "10.0.0.1", port: "4"),
            ])
        #expect(list.entries.map(\.nameToResolve) == ["db1", nil, nil, nil])
        #expect(list.keywords(keywords) == keywords)
        var resolved = list
        resolved.entries[0].address = "10.0.0.9"
        #expect(resolved.keywords(keywords)["hostaddr"] == "10.0.0.9,,,")
        #expect(resolved.index(of: HostEntry(host: "10.0.0.1", address: "10.0.0.1", port: "4")) == 3)
    }

    @Test(
        arguments: [
            (["host": "a,b", "port": "5"], ["5", "5"]), (["host": "a,b"], [nil, nil]),
            (["hostaddr": "::1,::2", "port": "1,2"], ["1", "2"]),
        ] as [([String: String], [String?])])
    func `one port stands for all`(keywords: [String: String], ports: [String?]) throws {
        #expect(try #require(HostList(keywords)).entries.map(\.port) == ports)
    }

    @Test(arguments: [["host": "a,b", "hostaddr": "::1"], ["host": "a,b", "port": "1,2,3"]])
    func `lists that do not fit together are left to libpq's own words`(keywords: [String: String]) async throws {
        #expect(HostList(keywords) == nil)
        await #expect { try await withConnection(PostgresEndpoint(keywords: keywords)) { _ in } } throws: {
            "\($0)".contains("could not match")
        }
    }

    @Test func `localhost is resolved before libpq sees it, to all its addresses`() async throws {
        let server = try await TestPostgres.start(tcp: true)
        let endpoint = server.endpoint(["host": "localhost", "port": "\(try #require(server.tcpPort))"])
        try await withConnection(endpoint) { connection in
            let address = try await connection.query("SELECT host(inet_server_addr()) AS address", until: later).first?.string(
                "address")
            #expect(address == "127.0.0.1")
            #expect(connection.server?.address == "127.0.0.1" && connection.server?.host == "localhost")
        }
    }

    @Test func `a name that cannot be resolved does not stand in the way of the others`() async throws {
        let server = try await TestPostgres.start(tcp: true)
        let port = "\(try #require(server.tcpPort))"
        try await withConnection(server.endpoint(["host": "no-such-host.invalid,localhost", "port": port])) { connection in
            #expect(connection.server?.host == "localhost")
        }
        try await withConnection(server.endpoint(["host": "no-such-host.invalid,\(server.socketDirectory)", "port": "1,5432"])) {
            connection in
            #expect(connection.server?.host == server.socketDirectory)
        }
        await #expect { try await withConnection(server.endpoint(["host": "no-such-host.invalid"])) { _ in } } throws: {
            "\($0)".contains("cannot resolve \"no-such-host.invalid\"")
        }
    }

    @Test func `a server that does not answer costs its share of the time, and the next attempt asks it last`() async throws {
        let frozen = try await TestPostgres.start()
        let server = try await TestPostgres.start()
        frozen.freeze()
        defer { frozen.thaw() }
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let endpoint = server.endpoint(["host": "\(frozen.socketDirectory),\(server.socketDirectory)"])
        let connector = PostgresConnector(
            endpoint: endpoint, applicationName: "test", loop: loop, calls: BlockingCalls(limit: 8, loop: loop))
        let budget = Duration.seconds(4)
        for isFirst in [true, false] {
            let took = try await timed {
                let connection = try await connector.connect(until: Deadline(.now() + budget))
                #expect(connection.server?.host == server.socketDirectory)
                connection.close()
            }
            // Whoever asks the frozen one first waits for half of the time, and has the other half for the second.
            #expect(isFirst ? took >= budget / 2 && took < budget : took < budget / 2, "\(took)")
        }
        // Alone it has all the time, and is named when that is up.
        await #expect(throws: PostgresError.self) { try await withConnection(frozen.endpoint, within: .milliseconds(100)) { _ in } }
    }

    @Test func `silence counts for half a minute, and then a server is asked in its turn again`() {
        let memory = ConnectorMemory()
        let (one, other) = (HostEntry(host: "one"), HostEntry(host: "other"))
        let start = MonotonicInstant(nanoseconds: 0)
        memory.silent(one, now: start)
        memory.silent(other, now: start + .seconds(20))
        #expect(memory.silentOnes(now: start + .seconds(29)) == [one, other])
        #expect(memory.silentOnes(now: start + .seconds(31)) == [other])
        #expect(memory.silentOnes(now: start + .seconds(51)).isEmpty)
    }
}
