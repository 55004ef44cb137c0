import AppCore
import HTTPTypes
import Hummingbird
import Logging
import Vitals

/// Collects routes and gives each the same frame: counted, timed, under one deadline, and every error an answer.
struct Routes {
    typealias Handler = @Sendable (Request, HTTPContext) async throws -> Response

    private let router = Router(context: HTTPContext.self, options: .autoGenerateHeadEndpoints)
    private var methods: [[RouteSegment]: Set<String>] = [:]
    private let statistics: HTTPStatistics
    private let time: any TimeSource
    private let logger: Logger

    init(statistics: HTTPStatistics, time: any TimeSource, logger: Logger) {
        self.statistics = statistics
        self.time = time
        self.logger = logger
    }

    /// - Parameters:
    ///   - name: the route's value of the label `handler`.
    ///   - path: with parameters in braces: `/api/workspaces/{id}`.
    ///   - workClass: how urgent what it asks of the database is.
    ///   - budget: all that is done for one request ends by then, or earlier if the client says so in `Request-Timeout`; what a stream
    ///     does after its head is not counted.
    mutating func on(
        _ method: HTTPRequest.Method, _ path: String, as name: String, class workClass: WorkClass = .interactive,
        within budget: Duration = .seconds(10), use handler: @escaping Handler
    ) {
        methods[RouteSegment.path(path), default: []].insert(method.rawValue)
        if method == .get { methods[RouteSegment.path(path), default: []].insert("HEAD") }
        let frame = frame
        router.on(RouterPath(path), method: method) { request, context in
            let detail = "\(method.rawValue) \(path)"
            return await Work.$workClass.withValue(workClass) {
                await frame.answer(request, context, as: name, detail: detail, within: budget, handler)
            }
        }
    }

    /// The router, which answers what no route serves with 404, or 405 naming the methods that are served.
    func finished() -> Router<HTTPContext> {
        router.add(middleware: UnservedPath(methods: methods, frame: frame))
        return router
    }

    private var frame: RouteFrame { RouteFrame(statistics: statistics, time: time, logger: logger) }
}

/// What is done around every handler.
struct RouteFrame: Sendable {
    let statistics: HTTPStatistics
    let time: any TimeSource
    let logger: Logger

    func answer(
        _ request: Request, _ context: HTTPContext, as name: String, detail: String, within budget: Duration,
        _ handler: Routes.Handler
    ) async -> Response {
        let began = time.now()
        statistics.began(name)
        let response: Response
        do {
            let patience = try request.timeout ?? budget
            response = try await Deadline.$current.withValue(Deadline(began + min(budget, patience))) {
                try await RequestTimeout.$shortensRoute.withValue(patience < budget) {
                    try await Work.$detail.withValue(detail) { try await handler(request, context) }
                }
            }
        } catch {
            response = answer(to: error, detail: detail)
        }
        statistics.ended(name, status: response.status.code, after: time.now() - began)
        return response
    }

    private func answer(to error: any Error, detail: String) -> Response {
        var generator = SystemRandomNumberGenerator()
        let answer = ErrorAnswer(error).jittered(using: &generator)
        if answer.isUnexpected {
            logger.error("request failed", metadata: ["route": "\(detail)", "error": "\("\(error)".oneLine(limit: 500))"])
        }
        return answer.response
    }
}

/// Answers for paths and methods no route serves. Runs only for those: it is added after all routes.
private struct UnservedPath: RouterMiddleware {
    typealias Context = HTTPContext

    let methods: [[RouteSegment]: Set<String>]
    let frame: RouteFrame

    @concurrent func handle(
        _ request: Request, context: HTTPContext, next: @concurrent (Request, HTTPContext) async throws -> Response
    ) async throws -> Response {
        let path = request.uri.path
        let segments = path.split(separator: "/", omittingEmptySubsequences: true)
        let served = methods.first { route, _ in
            route.count == segments.count && zip(route, segments).allSatisfy { $0.matches($1) }
        }?.value
        return await frame.answer(request, context, as: "unknown", detail: "unknown", within: .seconds(1)) { request, _ in
            if let served {
                throw ErrorAnswer.methodNotAllowed(request.method.rawValue, allowed: served.sorted())
            }
            throw ErrorAnswer.noSuchRoute(path)
        }
    }
}

enum RouteSegment: Hashable {
    case literal(String)
    case parameter

    static func path(_ text: String) -> [RouteSegment] {
        text.split(separator: "/").map { $0.hasPrefix("{") ? .parameter : .literal(String($0)) }
    }

    func matches(_ segment: Substring) -> Bool {
        switch self {
        case .literal(let text): text == segment
        case .parameter: true
        }
    }
}
