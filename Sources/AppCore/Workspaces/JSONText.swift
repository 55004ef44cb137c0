// The text form of JSONValue, both ways. Rows hold many small documents: JSONDecoder would try every type of every value in turn.

extension JSONValue: SQLParameter, CustomStringConvertible {
    public var sqlText: String? { text }
    public var description: String { text }

    /// Compact, with members in order of their names: the same value always reads the same.
    public var text: String {
        var output: [UInt8] = []
        append(to: &output)
        return String(decoding: output, as: UTF8.self)
    }

    func append(to output: inout [UInt8]) {
        switch self {
        case .null: output += "null".utf8
        case .bool(let flag): output += (flag ? "true" : "false").utf8
        case .integer(let whole): output += String(whole).utf8
        case .number(let number): output += (number.isFinite ? "\(number)" : "null").utf8
        case .decimal(let number): output += "\(number)".utf8
        case .string(let text): Self.appendQuoted(text, to: &output)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                element.append(to: &output)
            }
            output.append(UInt8(ascii: "]"))
        case .object(let members):
            output.append(UInt8(ascii: "{"))
            for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                Self.appendQuoted(member.key, to: &output)
                output.append(UInt8(ascii: ":"))
                member.value.append(to: &output)
            }
            output.append(UInt8(ascii: "}"))
        }
    }

    static func appendQuoted(_ text: String, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): output += [UInt8(ascii: "\\"), byte]
            case 0x0A: output += "\\n".utf8
            case 0x0D: output += "\\r".utf8
            case 0x09: output += "\\t".utf8
            case ..<0x20:
                let digits = String(byte, radix: 16)
                output += ("\\u" + String(repeating: "0", count: 4 - digits.count) + digits).utf8
            default: output.append(byte)
            }
        }
        output.append(UInt8(ascii: "\""))
    }

    /// How deep lists and objects may nest: the reader has one frame of the stack for each.
    static let depthLimit = 64

    /// Values in a body, each a number, a text, a list and so on: more than a task's parameters can be.
    static let valueLimit = 40_000

    /// Nil when the text is not one JSON value (RFC 8259), or one that would not come back as it was: it nests deeper than `depthLimit`, has a
    /// number that nothing here holds exactly, or two names in one object that Unicode takes for the same.
    public init?(text: some StringProtocol) {
        var reader = JSONReader(bytes: Array(text.utf8), keepsInfinity: false)
        self.init(&reader)
    }

    /// What a client sent: a byte order mark at the start is passed over, and a number that cannot be kept exactly is one that is not finite, so
    /// that the field it stands in can be named.
    ///
    /// - Throws: `RequestProblem` about the body.
    static func body(_ bytes: [UInt8]) throws(RequestProblem) -> JSONValue {
        try body(bytes, unread: nil).value
    }

    /// The same, but for one member of the object that the body is: it is looked at as all else, and then passed on as it stands there.
    ///
    /// A value takes ten times the room of its text, or more. So what is only passed on is not made into one, and of all else there is a limit.
    static func body(_ bytes: [UInt8], unread name: String?) throws(RequestProblem) -> (value: JSONValue, unread: RawJSON?) {
        var reader = JSONReader(bytes: bytes, keepsInfinity: true, unread: name, room: valueLimit)
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { reader.position = 3 }
        if let value = JSONValue(&reader) {
            if let name, let fault = reader.unreadFault { throw .invalid(field: name, reason: fault) }
            return (value, reader.unreadText)
        }
        if reader.room < 0 { throw .invalid(field: "body", reason: "has more than \(valueLimit) values") }
        if let twin = reader.twin {
            throw .invalid(field: "body", reason: "has two names in one object that Unicode takes for the same: \"\(twin.clipped)\"")
        }
        throw .invalid(field: "body", reason: "is not valid JSON, or nests deeper than \(depthLimit)")
    }

    private init?(_ reader: inout JSONReader) {
        guard let value = reader.value(depth: 0), reader.isAtEnd() else { return nil }
        self = value
    }
}

private struct JSONReader {
    let bytes: [UInt8]
    let keepsInfinity: Bool
    var position = 0
    /// A name that stands in one object twice, composed and decomposed.
    private(set) var twin: String?
    /// How many values more are kept.
    private(set) var room: Int
    /// The member of the outermost object that is not kept, and where it stands.
    private let unread: String?
    private var unreadRange: Range<Int>?
    /// What is wrong with it, though it is JSON.
    private(set) var unreadFault: String?
    /// False inside of that member: its values are looked at and let go.
    private var keeps = true

    init(bytes: [UInt8], keepsInfinity: Bool, unread: String? = nil, room: Int = .max) {
        self.bytes = bytes
        self.keepsInfinity = keepsInfinity
        self.unread = unread
        self.room = room
    }

    var unreadText: RawJSON? { unreadRange.map { RawJSON(unread: String(decoding: bytes[$0], as: UTF8.self)) } }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipBlanks() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    mutating func isAtEnd() -> Bool {
        skipBlanks()
        return next == nil
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        skipBlanks()
        guard next == byte else { return false }
        position += 1
        return true
    }

    mutating func value(depth: Int) -> JSONValue? {
        guard depth < JSONValue.depthLimit else { return nil }
        if keeps {
            room -= 1
            guard room >= 0 else { return nil }
        }
        skipBlanks()
        switch next {
        case UInt8(ascii: "{"): return object(depth: depth)
        case UInt8(ascii: "["): return array(depth: depth)
        case UInt8(ascii: "\""): return string().map { .string($0) }
        case UInt8(ascii: "t"): return word("true", .bool(true))
        case UInt8(ascii: "f"): return word("false", .bool(false))
        case UInt8(ascii: "n"): return word("null", .null)
        default: return number()
        }
    }

    private mutating func word(_ word: StaticString, _ value: JSONValue) -> JSONValue? {
        let matches = word.withUTF8Buffer { bytes[position...].starts(with: $0) }
        guard matches else { return nil }
        position += word.utf8CodeUnitCount
        return value
    }

    private mutating func object(depth: Int) -> JSONValue? {
        position += 1
        var members: [String: JSONValue] = [:]
        if take(UInt8(ascii: "}")) { return .object(members) }
        repeat {
            skipBlanks()
            guard let name = string(), take(UInt8(ascii: ":")), let member = member(name, depth: depth + 1) else { return nil }
            // Of what is let go only those names are needed that may have a twin.
            if !keeps, name.utf8.allSatisfy({ $0 < 0x80 }) { continue }
            // To a dictionary "é" is the same in one piece and in two; PostgreSQL keeps both.
            if let other = members.index(forKey: name), !members.keys[other].utf8.elementsEqual(name.utf8) {
                twin = name
                return nil
            }
            members[name] = member
        } while take(UInt8(ascii: ","))
        return take(UInt8(ascii: "}")) ? keeps ? .object(members) : .null : nil
    }

    private mutating func member(_ name: String, depth: Int) -> JSONValue? {
        guard depth == 1, name == unread else { return value(depth: depth) }
        keeps = false
        defer { keeps = true }
        skipBlanks()
        let start = position
        unreadFault = nil
        guard value(depth: depth) != nil else { return nil }
        unreadRange = start..<position
        return .null
    }

    private mutating func array(depth: Int) -> JSONValue? {
        position += 1
        var elements: [JSONValue] = []
        if take(UInt8(ascii: "]")) { return .array(elements) }
        repeat {
            guard let element = value(depth: depth + 1) else { return nil }
            if keeps { elements.append(element) }
        } while take(UInt8(ascii: ","))
        return take(UInt8(ascii: "]")) ? .array(elements) : nil
    }

    private mutating func number() -> JSONValue? {
        let start = position
        while let byte = next, (0x30...0x39).contains(byte) || "+-.eE".utf8.contains(byte) { position += 1 }
        let token = bytes[start..<position]
        let digits = token.first == UInt8(ascii: "-") ? token.dropFirst() : token
        // RFC 8259: an integer part without a leading zero, digits on both sides of a point.
        guard let first = digits.first, (0x30...0x39).contains(first), let last = token.last, (0x30...0x39).contains(last),
            !(first == 0x30 && digits.dropFirst().first.map { (0x30...0x39).contains($0) } == true)
        else { return nil }
        if let value = JSONValue(number: token) { return value }
        guard keepsInfinity, let value = Double(String(decoding: token, as: UTF8.self)) else { return nil }
        // Neither is kept; which it is tells what is wrong with it.
        let number = JSONValue.number(value.isFinite ? .nan : .infinity)
        if !keeps, let fault = number.unkeptNumber { unreadFault = "has a number that \(fault)" }
        return number
    }

    private mutating func string() -> String? {
        guard next == UInt8(ascii: "\"") else { return nil }
        position += 1
        var text: [UInt8] = []
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                if !keeps, text.contains(0) { unreadFault = "contains a NUL character" }
                return String(validating: text, as: UTF8.self)
            case UInt8(ascii: "\\"): guard escape(into: &text) else { return nil }
            case ..<0x20: return nil
            default: text.append(byte)
            }
        }
        return nil
    }

    private mutating func escape(into text: inout [UInt8]) -> Bool {
        guard let byte = next else { return false }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "u"):
            guard var code = hexadecimal() else { return false }
            if (0xD800..<0xDC00).contains(code) {
                guard next == UInt8(ascii: "\\"), position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "u") else { return false }
                position += 2
                guard let low = hexadecimal(), (0xDC00..<0xE000).contains(low) else { return false }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else { return false }
            text += UTF8.encode(scalar).map { Array($0) } ?? []
        default: return false
        }
        return true
    }

    private mutating func hexadecimal() -> UInt32? {
        guard position + 4 <= bytes.count else { return nil }
        let digits = bytes[position..<position + 4]
        guard digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }) else { return nil }
        position += 4
        return UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
    }
}
