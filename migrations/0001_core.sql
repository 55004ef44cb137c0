-- The application's tables. One transaction; applied by `healthd migrate up`.
-- A row of workflows is a workspace.

-- A column holds what healthd can read and JSON can say. The rest is refused here, whoever brings it: NaN passes "> 0", one infinite time would
-- stand in the way of every list it is part of, and what is nested deeper than 64 is not read back.

CREATE DOMAIN healthd_time AS timestamptz
    CHECK (VALUE >= '0001-01-01 00:00:00+00' AND VALUE < '10000-01-01 00:00:00+00');
CREATE DOMAIN healthd_date AS date
    CHECK (VALUE >= '0001-01-01' AND VALUE < '10000-01-01');
CREATE DOMAIN healthd_number AS double precision
    CHECK (VALUE > '-Infinity' AND VALUE < 'Infinity');
CREATE DOMAIN healthd_json AS jsonb
    CHECK (NOT jsonb_path_exists(VALUE, 'strict $.**{64}'));

CREATE TABLE workflow_users (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email       text NOT NULL UNIQUE CHECK (email <> ''),
    name        text NOT NULL,
    created_at  healthd_time NOT NULL DEFAULT now()
);

CREATE TABLE workflows (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY CHECK (id > 0),
    user_id           uuid NOT NULL REFERENCES workflow_users ON DELETE CASCADE,
    name              text NOT NULL CHECK (name <> ''),
    ticker            text NOT NULL CHECK (ticker ~ '^[A-Z][A-Z0-9.-]{0,9}$'),
    status            text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'archived')),
    thesis            text,
    -- Grows with each write; a cache never puts an older one over a newer.
    version           bigint NOT NULL DEFAULT 1,
    created_at        healthd_time NOT NULL DEFAULT now(),
    updated_at        healthd_time NOT NULL DEFAULT now(),
    last_accessed_at  healthd_time NOT NULL DEFAULT now()
);

CREATE TABLE market_snapshots (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticker         text NOT NULL,
    snapshot_date  healthd_date NOT NULL,
    open           healthd_number NOT NULL CHECK (open > 0),
    high           healthd_number NOT NULL,
    low            healthd_number NOT NULL CHECK (low > 0),
    close          healthd_number NOT NULL CHECK (close > 0),
    volume         bigint NOT NULL CHECK (volume >= 0),
    created_at     healthd_time NOT NULL DEFAULT now(),
    CHECK (low <= high)
);

CREATE TABLE workspace_data_snapshots (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id   bigint NOT NULL REFERENCES workflows ON DELETE CASCADE,
    snapshot_type  text NOT NULL CHECK (snapshot_type <> ''),
    payload        healthd_json NOT NULL,
    created_at     healthd_time NOT NULL DEFAULT now()
);

CREATE TABLE ai_audit_logs (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id  bigint NOT NULL REFERENCES workflows ON DELETE CASCADE,
    task_id       uuid,
    action        text NOT NULL,
    summary       text NOT NULL,
    details       healthd_json NOT NULL DEFAULT '{}',
    created_at    healthd_time NOT NULL DEFAULT now()
);

CREATE TABLE financial_statements (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticker            text NOT NULL,
    period_end        healthd_date NOT NULL,
    revenue           healthd_number NOT NULL,
    gross_profit      healthd_number NOT NULL,
    operating_income  healthd_number NOT NULL,
    net_income        healthd_number NOT NULL,
    total_assets      healthd_number NOT NULL,
    total_debt        healthd_number NOT NULL,
    shares            healthd_number NOT NULL CHECK (shares > 0),
    created_at        healthd_time NOT NULL DEFAULT now(),
    UNIQUE (ticker, period_end)
);

CREATE TABLE agent_tasks (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id     bigint NOT NULL REFERENCES workflows ON DELETE CASCADE,
    type             text NOT NULL,
    params           healthd_json NOT NULL DEFAULT '{}',
    -- created: waits for somebody to start it. queued: waits for a worker.
    state            text NOT NULL CHECK (state IN ('created', 'queued', 'running', 'paused', 'completed', 'failed', 'cancelled')),
    -- Counts claims. Whoever finishes must name the attempt it claimed.
    attempt          integer NOT NULL DEFAULT 0 CHECK (attempt BETWEEN 0 AND 1000000000),
    -- Counts attempts that ended badly: the worker was lost, or what the task needs failed.
    failures         integer NOT NULL DEFAULT 0 CHECK (failures BETWEEN 0 AND 1000000000),
    current_step     text,
    progress         healthd_number NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    error            text,
    result           healthd_json,
    -- Set by people, read by the worker between steps.
    requested        text CHECK (requested IN ('pause', 'cancel')),
    worker           text,
    lease_ends_at    healthd_time,
    -- The last number given to an event of this task.
    event_sequence   bigint NOT NULL DEFAULT 0 CHECK (event_sequence BETWEEN 0 AND 1000000000000000),
    created_at       healthd_time NOT NULL DEFAULT now(),
    queued_at        healthd_time,
    started_at       healthd_time,
    finished_at      healthd_time,
    updated_at       healthd_time NOT NULL DEFAULT now(),
    -- Nobody would ever claim it.
    CHECK (state <> 'queued' OR queued_at IS NOT NULL)
);

-- What workers look for; small, since a finished task leaves it.
CREATE INDEX idx_agent_tasks_open ON agent_tasks (queued_at) WHERE state IN ('queued', 'running');
CREATE INDEX idx_agent_tasks_workspace ON agent_tasks (workspace_id, created_at DESC);

CREATE TABLE agent_task_events (
    task_id     uuid NOT NULL REFERENCES agent_tasks ON DELETE CASCADE,
    sequence    bigint NOT NULL CHECK (sequence BETWEEN 1 AND 1000000000000000),
    kind        text NOT NULL,
    payload     healthd_json NOT NULL DEFAULT '{}',
    created_at  healthd_time NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, sequence)
);
