import AppCore
import Vitals
import Logging
struct DemoLoad { init(workspaces: WorkspaceStore, tasks: AgentTaskStore, time: any TimeSource, logger: Logger) {}; func run() async {} }
