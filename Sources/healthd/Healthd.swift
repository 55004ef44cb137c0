import Hummingbird
import ArgumentParser
import Subprocess
import Yams
import CZlib
import CSystemd
@main struct Main { static func main() { print("hi") } }
