// swift-tools-version: 6.2
import PackageDescription

// Strict by default: what these features would change must be written out at the place it matters.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),  // SE-0443
    .enableUpcomingFeature("ExistentialAny"),  // SE-0335
    .enableUpcomingFeature("MemberImportVisibility"),  // SE-0444
    .enableUpcomingFeature("InternalImportsByDefault"),  // SE-0409
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),  // SE-0461: a lease may be used inside an actor
] + (Context.environment["HEALTHD_TESTABLE"] == nil ? [] : [.unsafeFlags(["-enable-testing"])])
// HEALTHD_TESTABLE: scripts/test looks into optimised modules; what is shipped is built without.

let package = Package(
    name: "healthd",
    products: [
        .executable(name: "healthd", targets: ["healthd"]),
        .library(name: "AppCore", targets: ["AppCore"]),
        .library(name: "Probes", targets: ["Probes"]),
    ],
    dependencies: [
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-nio-extras.git", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        .systemLibrary(name: "CLibpq", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        // No pkgConfig: hiredis' flags make the package manager warn; the module map links it.
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
        // The files of migrations/, embedded: one binary needs no folder beside it.
        .target(name: "CMigrations"),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        // libpq-dev depends on libssl-dev.
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
        .systemLibrary(name: "CLinux"),

        .target(name: "CWeb"),

        .target(
            name: "Vitals",
            dependencies: [
                "CLinux", "COpenSSL",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "GRDB", package: "GRDB.swift"),
            ],
            swiftSettings: strict),
        .target(
            name: "Probes",
            dependencies: [
                "Vitals",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOTLS", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .target(
            name: "AppCore",
            dependencies: [
                "CLinux", "CLibpq", "CHiredis", "CMigrations", "Vitals",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "OrderedCollections", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "healthd",
            dependencies: [
                "AppCore", "Probes", "Vitals", "CZlib", "CWeb", "CSystemd",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "Yams", package: "Yams"),
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: strict),

        // The pool beside its peers: scripts/bench pool.
        .executableTarget(
            name: "poolbench",
            dependencies: ["AppCore", "Vitals", .product(name: "Logging", package: "swift-log")],
            path: "Benchmarks/PoolBench",
            swiftSettings: strict),

        // A program of somebody else's on AppCore: it has a handler of its own.
        .executableTarget(
            name: "ThesisLength",
            dependencies: ["AppCore", .product(name: "Logging", package: "swift-log")],
            path: "Examples/ThesisLength",
            swiftSettings: strict),

        .testTarget(
            name: "VitalsTests",
            dependencies: ["Vitals", "TestServers", .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: strict),
        .testTarget(
            name: "ProbesTests",
            dependencies: [
                "Probes", "Vitals", "TestServers",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            swiftSettings: strict),
        // Private servers for tests, in temporary folders; how tests wait, and read what is logged.
        .target(
            name: "TestServers", dependencies: ["Vitals", .product(name: "Logging", package: "swift-log")], path: "Tests/TestServers",
            swiftSettings: strict),
        .testTarget(name: "AppCoreTests", dependencies: ["AppCore", "Vitals", "TestServers", "ThesisLength"], swiftSettings: strict),
        .testTarget(
            name: "HealthdTests",
            dependencies: [
                "healthd", "AppCore", "Probes", "Vitals", "TestServers",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .testTarget(name: "TidyTests", swiftSettings: strict),
        // The running program, seen from outside: what the two suites below share. None of them depends on it, since it is not theirs but
        // the one that scripts/run starts.
        .target(
            name: "Blackbox",
            dependencies: [
                "TestServers", "Vitals",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            path: "Tests/Blackbox",
            swiftSettings: strict),
        .testTarget(name: "IntegrationTests", dependencies: ["Blackbox", "TestServers", "Vitals"], swiftSettings: strict),
        .testTarget(
            name: "SystemdTests",
            dependencies: ["Blackbox", "TestServers", "Vitals"],
            exclude: ["lab"],
            swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)
