/// Decodes from JSON as `JSONValue` reads it, where `7` and `7.0` are two things and every whole number is exact.
///
/// A number with a point or an exponent is a whole number to whoever asks for an `Int`, as it is to most programs; whoever
/// minds asks for a `JSONValue`.
struct JSONBody: Decoder, SingleValueDecodingContainer {
    let value: JSONValue
    var codingPath: [any CodingKey] = []

    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .object(let members) = value else { throw refusal([String: Any].self) }
        return KeyedDecodingContainer(JSONMembers<Key>(members: members, codingPath: codingPath))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard case .array(let elements) = value else { throw refusal([Any].self) }
        return JSONElements(elements: elements, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueDecodingContainer { self }

    func decodeNil() -> Bool { value == .null }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        let found: Any?
        switch type {
        case is JSONValue.Type:
            if let fault = value.unkeptNumber {
                throw DecodingError.dataCorruptedError(in: self, debugDescription: "has a number that \(fault)")
            }
            found = value
        case is String.Type: found = value.stringValue
        case is Bool.Type: found = value.boolValue
        case is Double.Type: found = value.doubleValue
        case is Float.Type: found = value.doubleValue.map { Float($0) }
        case let whole as any FixedWidthInteger.Type: found = number(whole)
        case let word as any (RawRepresentable & CaseIterable).Type: found = try one(of: word)
        default: return try Value(from: self)
        }
        guard let found = found as? Value else { throw refusal(type) }
        return found
    }

    private func number<Whole: FixedWidthInteger>(_ type: Whole.Type) -> Whole? {
        switch value {
        case .integer(let number): Whole(exactly: number)
        case .number(let number): Whole(exactly: number)
        default: nil
        }
    }

    /// One of a closed set of words; the message says which there are.
    private func one<Word: RawRepresentable & CaseIterable>(of type: Word.Type) throws -> Word {
        guard case .string(let text) = value else { throw refusal(String.self) }
        if let word = type.allCases.first(where: { "\($0.rawValue)" == text }) { return word }
        let words = type.allCases.map { "\($0.rawValue)" }.joined(separator: ", ")
        throw DecodingError.dataCorruptedError(in: self, debugDescription: "is \"\(text.clipped)\"; expected one of \(words)")
    }

    private func refusal(_ type: any Any.Type) -> DecodingError {
        let context = DecodingError.Context(codingPath: codingPath, debugDescription: "")
        return value == .null ? .valueNotFound(type, context) : .typeMismatch(type, context)
    }
}

private struct JSONMembers<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let members: [String: JSONValue]
    let codingPath: [any CodingKey]

    var allKeys: [Key] { members.keys.compactMap { Key(stringValue: $0) } }

    func contains(_ key: Key) -> Bool { members[key.stringValue] != nil }

    private func body(_ key: some CodingKey) throws -> JSONBody {
        guard let value = members[key.stringValue] else {
            throw DecodingError.keyNotFound(key, .init(codingPath: codingPath, debugDescription: ""))
        }
        return JSONBody(value: value, codingPath: codingPath + [key])
    }

    func decodeNil(forKey key: Key) throws -> Bool { try body(key).decodeNil() }
    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value { try body(key).decode(type) }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key) throws -> KeyedDecodingContainer<Nested> {
        try body(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer { try body(key).unkeyedContainer() }
    func superDecoder() throws -> any Decoder { try body(JSONPlace(stringValue: "super")) }
    func superDecoder(forKey key: Key) throws -> any Decoder { try body(key) }
}

private struct JSONElements: UnkeyedDecodingContainer {
    let elements: [JSONValue]
    let codingPath: [any CodingKey]
    private(set) var currentIndex = 0

    init(elements: [JSONValue], codingPath: [any CodingKey]) {
        self.elements = elements
        self.codingPath = codingPath
    }

    var count: Int? { elements.count }
    var isAtEnd: Bool { currentIndex == elements.count }

    /// Reads the next element, and goes past it if it could be read.
    private mutating func next<Value>(_ type: any Any.Type, _ read: (JSONBody) throws -> Value) throws -> Value {
        let path = codingPath + [JSONPlace(intValue: currentIndex)]
        guard !isAtEnd else { throw DecodingError.valueNotFound(type, .init(codingPath: path, debugDescription: "")) }
        let value = try read(JSONBody(value: elements[currentIndex], codingPath: path))
        currentIndex += 1
        return value
    }

    mutating func decodeNil() throws -> Bool {
        guard !isAtEnd, elements[currentIndex] == .null else { return false }
        currentIndex += 1
        return true
    }

    mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try next(type) { try $0.decode(type) } }

    mutating func nestedContainer<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        try next([String: Any].self) { try $0.container(keyedBy: type) }
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer { try next([Any].self) { try $0.unkeyedContainer() } }
    mutating func superDecoder() throws -> any Decoder { try next(JSONBody.self) { $0 } }
}

/// A place in a document that no type of ours has a name for.
private struct JSONPlace: CodingKey {
    let stringValue: String
    let intValue: Int?

    init(stringValue: String) {
        self.stringValue = stringValue
        intValue = nil
    }

    init(intValue: Int) {
        stringValue = "\(intValue)"
        self.intValue = intValue
    }
}
