/// The name a writer most likely meant: at most two slips away, or a third of its letters; nil when nothing is near.
///
/// A slip is a letter too many, missing, wrong, or swapped with its neighbour (optimal string alignment distance).
func nearestName(to written: String, among names: some Sequence<String>) -> String? {
    let limit = max(2, written.utf8.count / 3)
    return
        names
        .map { (name: $0, slips: slips(Array(written.lowercased().utf8), Array($0.lowercased().utf8))) }
        .filter { $0.slips <= limit && $0.slips < $0.name.utf8.count }
        .min { ($0.slips, $0.name) < ($1.slips, $1.name) }?
        .name
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
