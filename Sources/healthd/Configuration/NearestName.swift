/// The name a writer most likely meant: a slip away, or one for every three letters; nil when nothing is near.
///
/// A slip is a letter too many, missing, wrong, or swapped with its neighbour (optimal string alignment distance). Words at the beginning and at
/// the end that both have in common say nothing of what was meant, and so do not count: HEALTHD_PORT is not near to HEALTHD_STATE.
func nearestName(to written: String, among names: some Sequence<String>) -> String? {
    names
        .compactMap { name -> (name: String, slips: Int)? in
            let (left, right) = withoutCommonWords(Array(written.lowercased().utf8), Array(name.lowercased().utf8))
            let count = slips(Array(left), Array(right))
            return count <= max(1, left.count / 3) && count < right.count ? (name: name, slips: count) : nil
        }
        .min { ($0.slips, $0.name) < ($1.slips, $1.name) }?
        .name
}

private func withoutCommonWords(_ left: [UInt8], _ right: [UInt8]) -> (ArraySlice<UInt8>, ArraySlice<UInt8>) {
    func isBetweenWords(_ byte: UInt8) -> Bool { ".-_".utf8.contains(byte) }
    let same = zip(left, right).prefix { $0 == $1 }.count
    let start = left[..<same].lastIndex(where: isBetweenWords).map { $0 + 1 } ?? 0
    let (left, right) = (left[start...], right[start...])
    let sameAtEnd = zip(left.reversed(), right.reversed()).prefix { $0 == $1 }.count
    let words = left.suffix(sameAtEnd)
    let end = words.firstIndex(where: isBetweenWords).map { words.endIndex - $0 } ?? 0
    return (left.dropLast(end), right.dropLast(end))
}

private func slips(_ left: [UInt8], _ right: [UInt8]) -> Int {
    // An absurdly long name is near to nothing, and the table below is quadratic.
    guard left.count <= 200, right.count <= 200 else { return .max }
    var beforeLast: [Int] = []
    var last = Array(0...right.count)
    for row in left.indices {
        var current = [row + 1]
        for column in right.indices {
            let substitution = last[column] + (left[row] == right[column] ? 0 : 1)
            var best = min(substitution, last[column + 1] + 1, current[column] + 1)
            if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                best = min(best, beforeLast[column - 1] + 1)
            }
            current.append(best)
        }
        (beforeLast, last) = (last, current)
    }
    return last[right.count]
}
