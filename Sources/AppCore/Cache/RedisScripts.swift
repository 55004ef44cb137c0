/// What Redis runs for the cache, each in one step.
enum RedisScripts {
    /// The value and the milliseconds that are left of it.
    static let read: RedisArgument = "return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}"

    /// Stores unless a newer version is there: a process that read before a write must not put the older value over the newer one.
    ///
    /// A write that finds a newer version cannot tell a race from a database that went back in time: then neither is believed for
    /// `RedisTier.conflict`. What is not ours is written over.
    static let store: RedisArgument = """
        local present = redis.call('GET', KEYS[1])
        if present then
            local readable, value = pcall(cjson.decode, present)
            if readable and type(value) == 'table' then
                if value.doubt == KEYS[1] then return 0 end
                if value.key == KEYS[1] and type(value.version) == 'number' and value.version > tonumber(ARGV[1]) then
                    if ARGV[4] == 'write' then redis.call('SET', KEYS[1], ARGV[5], 'PX', ARGV[6]) end
                    return 0
                end
            end
        end
        redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
        return 1
        """

    /// Deletes keys, except one that is in doubt: the doubt has taken the place of the value that was suspect.
    static let delete: RedisArgument = """
        for number, key in ipairs(KEYS) do
            if redis.pcall('GET', key) ~= ARGV[number] then redis.call('DEL', key) end
        end
        return 1
        """

    /// Stands for a value that nobody knows: readers take none, and nothing is stored over it.
    static func doubt(about key: String) -> RedisArgument { RedisArgument(JSONValue.object(["doubt": .string(key)]).text) }
}
