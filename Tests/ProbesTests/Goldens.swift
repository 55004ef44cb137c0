/// What a receiver gets. A change here changes what other people's programs read.
enum Goldens {
    static let firing = #"""
        {"alerts":[{"annotations":{"description":"pool saturation 150 %, critical from 95 %. Held longest: \#
        workspace.overview (GET /api/workspaces/{id}/overview) for 2.1 s: SELECT pg_sleep($1), in a transaction, \#
        backend 4711. Waits longest: tasks.claim for 400 ms",\#
        "holders":"workspace.overview (GET /api/workspaces/{id}/overview) for 2.1 s: SELECT pg_sleep($1), in a \#
        transaction, backend 4711","peak":"150 %","reason":"pool saturation 150 %, critical from 95 %",\#
        "summary":"pool is critical: pool saturation 150 %, critical from 95 %","threshold":"95 %","value":"150 %",\#
        "waiters":"tasks.claim for 400 ms"},"endsAt":"0001-01-01T00:00:00Z","fingerprint":"e501b114730a9f98",\#
        "generatorURL":"http://web-1:9798","labels":{"alertname":"pool-saturation","component":"pool",\#
        "instance":"web-1:9798","severity":"critical"},"startsAt":"2026-11-24T03:12:45.120Z","status":"firing"}],\#
        "commonAnnotations":{"description":"pool saturation 150 %, critical from 95 %. Held longest: \#
        workspace.overview (GET /api/workspaces/{id}/overview) for 2.1 s: SELECT pg_sleep($1), in a transaction, \#
        backend 4711. Waits longest: tasks.claim for 400 ms",\#
        "holders":"workspace.overview (GET /api/workspaces/{id}/overview) for 2.1 s: SELECT pg_sleep($1), in a \#
        transaction, backend 4711","peak":"150 %","reason":"pool saturation 150 %, critical from 95 %",\#
        "summary":"pool is critical: pool saturation 150 %, critical from 95 %","threshold":"95 %","value":"150 %",\#
        "waiters":"tasks.claim for 400 ms"},"commonLabels":{"alertname":"pool-saturation","component":"pool",\#
        "instance":"web-1:9798","severity":"critical"},"externalURL":"http://web-1:9798",\#
        "groupKey":"{}:{alertname=\"pool-saturation\", component=\"pool\", instance=\"web-1:9798\"}",\#
        "groupLabels":{"alertname":"pool-saturation","component":"pool","instance":"web-1:9798"},\#
        "healthd":{"holders":[{"ageSeconds":2.1,"backendPID":4711,"callSite":"AppCore/Overview.swift:41",\#
        "detail":"GET /api/workspaces/{id}/overview","inTransaction":true,"purpose":"workspace.overview",\#
        "statement":"SELECT pg_sleep($1)"}],"id":"healthd_0f1e","notification":"firing","omitted":0,"peak":1.5,\#
        "threshold":0.95,"value":1.5,"waiters":[{"ageSeconds":0.4,"deadlineInSeconds":1.6,"purpose":"tasks.claim"}]},\#
        "receiver":"oncall","status":"firing","truncatedAlerts":0,"version":"4"}
        """#

    static let resolved = #"""
        {"alerts":[{"annotations":{"description":"pool saturation 10 %","duration":"2 min","peak":"150 %",\#
        "reason":"pool saturation 10 %","summary":"pool is healthy again after 2 min: pool saturation 10 %",\#
        "threshold":"95 %","value":"10 %"},"endsAt":"2026-11-24T03:14:45.120Z","fingerprint":"e501b114730a9f98",\#
        "generatorURL":"http://web-1:9798","labels":{"alertname":"pool-saturation","component":"pool",\#
        "instance":"web-1:9798","severity":"critical"},"startsAt":"2026-11-24T03:12:45.120Z","status":"resolved"}],\#
        "commonAnnotations":{"description":"pool saturation 10 %","duration":"2 min","peak":"150 %",\#
        "reason":"pool saturation 10 %","summary":"pool is healthy again after 2 min: pool saturation 10 %",\#
        "threshold":"95 %","value":"10 %"},"commonLabels":{"alertname":"pool-saturation","component":"pool",\#
        "instance":"web-1:9798","severity":"critical"},"externalURL":"http://web-1:9798",\#
        "groupKey":"{}:{alertname=\"pool-saturation\", component=\"pool\", instance=\"web-1:9798\"}",\#
        "groupLabels":{"alertname":"pool-saturation","component":"pool","instance":"web-1:9798"},\#
        "healthd":{"durationSeconds":120,"holders":[],"id":"healthd_0f1e","notification":"resolved","omitted":0,\#
        "peak":1.5,"threshold":0.95,"value":0.1,"waiters":[]},"receiver":"oncall","status":"resolved",\#
        "truncatedAlerts":0,"version":"4"}
        """#
}
