extension Double {
    /// Nil for NaN and the infinities: JSON has no word for them, and nothing can be judged by them.
    public var ifFinite: Double? { isFinite ? self : nil }
}
