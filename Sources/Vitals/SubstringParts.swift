extension Substring {
    /// What stands before and after the first `scalar`; nil without one. A combining mark behind it does not hide it, as it would from
    /// `split`, which goes by characters.
    public func parted(at scalar: Unicode.Scalar) -> (before: Substring, after: Substring)? {
        unicodeScalars.firstIndex(of: scalar).map { (self[..<$0], self[unicodeScalars.index(after: $0)...]) }
    }

    /// The same for the last `scalar`.
    public func partedAtLast(_ scalar: Unicode.Scalar) -> (before: Substring, after: Substring)? {
        unicodeScalars.lastIndex(of: scalar).map { (self[..<$0], self[unicodeScalars.index(after: $0)...]) }
    }

    /// Up to the first of `scalars`.
    public func upTo(_ scalars: Set<Unicode.Scalar>) -> Substring {
        self[..<(unicodeScalars.firstIndex { scalars.contains($0) } ?? endIndex)]
    }

    /// All pieces between `scalar`, empty ones as well: one more than there are of it.
    public func pieces(between scalar: Unicode.Scalar) -> [Substring] {
        unicodeScalars.split(separator: scalar, omittingEmptySubsequences: false).map { Substring($0) }
    }
}
