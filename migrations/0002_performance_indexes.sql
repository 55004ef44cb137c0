-- The four questions asked most: the newest rows of one workspace, one ticker, one kind of snapshot, one user.
-- Inside a transaction, so not CONCURRENTLY: the tables were made empty a moment ago.

CREATE INDEX idx_ai_audit_logs_workspace_time ON ai_audit_logs (workspace_id, created_at DESC);
CREATE INDEX idx_market_snapshots_ticker_date ON market_snapshots (ticker, snapshot_date DESC);
CREATE INDEX idx_workspace_snapshots_workspace_type ON workspace_data_snapshots (workspace_id, snapshot_type, created_at DESC);
CREATE INDEX idx_workflows_user_accessed ON workflows (user_id, last_accessed_at DESC);
