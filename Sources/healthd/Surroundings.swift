#if canImport(Glibc)
    import Glibc
#endif

/// What whoever started us left us with, put right before anything else is done.
enum Surroundings {
    /// For every verb, as the very first thing: before a descriptor is opened and before anything is written.
    static func putRight() {
        openStandardDescriptors()
        // A peer that closes its end is an error of that write, never the end of this process: hiredis writes without MSG_NOSIGNAL.
        signal(SIGPIPE, SIG_IGN)
        // So is a file that may not grow any more (ulimit -f, LimitFSIZE=), a log as well as the local store.
        signal(SIGXFSZ, SIG_IGN)
    }

    /// Whoever starts a program may close 0, 1 and 2. The next descriptors opened would be those, and what is printed would go into a
    /// socket, a database file or an event loop.
    private static func openStandardDescriptors() {
        // In this order, since open() gives the lowest number that is free.
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 && errno == EBADF {
            _ = open("/dev/null", descriptor == STDIN_FILENO ? O_RDONLY : O_WRONLY)
        }
    }

    /// Raises the soft limit of open descriptors to the hard one, and answers the limit then in force; nil when the kernel does not say.
    ///
    /// The usual soft limit of 1,024 is for programs that call select(), which nothing here does.
    static func raiseDescriptorLimit() -> Int? {
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0 else { return nil }
        let wanted = min(limit.rlim_max, rlim_t(DescriptorBudget.mostUseful))
        if limit.rlim_cur < wanted {
            var raised = limit
            raised.rlim_cur = wanted
            // Refused, in a sandbox: then the limit stays what it was.
            if setrlimit(resource, &raised) == 0 { limit = raised }
        }
        return Int(exactly: limit.rlim_cur) ?? .max
    }

    /// Lets Dispatch open what it opens at the first timer of each clock: later there may be no descriptor left for it, and then it ends
    /// the process.
    ///
    /// Source: swift-corelibs-libdispatch, src/event/event_epoll.c: `_dispatch_epoll_init`, `_dispatch_timeout_program`.
    @concurrent static func openTimers() async {
        try? await Task.sleep(for: .nanoseconds(1), clock: .suspending)
        try? await Task.sleep(for: .nanoseconds(1), clock: .continuous)
    }
}

/// Too few descriptors to run at all.
struct TooFewDescriptors: Error, Hashable, CustomStringConvertible {
    var limit: Int

    var description: String {
        "this process may open \(limit) file descriptors, and needs \(DescriptorBudget.fewest); raise the limit (ulimit -n, or LimitNOFILE= in the unit)"
    }
}
