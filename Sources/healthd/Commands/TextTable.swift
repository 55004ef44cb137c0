import Vitals

/// Columns of text for a terminal. Cells become single lines: what they hold may come from outside.
struct TextTable: Sendable {
    var headings: [String]
    var rows: [[String]] = []

    init(_ headings: String...) { self.headings = headings }

    mutating func add(_ cells: String?...) {
        precondition(cells.count == headings.count, "a cell for each heading")
        rows.append(cells.map { ($0 ?? "-").oneLine(limit: 200) })
    }

    /// Two blanks between columns, the last one as long as it is.
    var text: String {
        let lines = [headings] + rows
        let widths = headings.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { cells in
            var line = ""
            for (column, cell) in cells.enumerated() {
                line += cell
                if column < cells.count - 1 { line += String(repeating: " ", count: widths[column] - cell.count + 2) }
            }
            return line
        }.joined(separator: "\n")
    }
}
