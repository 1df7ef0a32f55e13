//! Who may call what, by hand from the API reference (identity 12; executions 1; ingest 1): nothing here is read from
//! the code. A row that is not here fails the walk.

/// What a caller meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meets {
    /// The endpoint itself.
    Yes,
    /// 403 `Insufficient permissions`.
    Forbidden,
    /// 401.
    Unknown,
}

/// A row of the permission matrix.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) id: &'static str,
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// Administrator, developer, viewer, a developer's API key, nobody.
    pub(super) callers: [Meets; 5],
    /// The number that `X-RateLimit-Limit` tells; none where nothing is counted.
    pub(super) limit: Option<u32>,
}

/// `✓` allowed, `✗` 403, `–` 401; in the order of the permission matrix: A D V K P.
const fn meets(mark: char) -> Meets {
    match mark {
        '✓' => Meets::Yes,
        '✗' => Meets::Forbidden,
        '–' => Meets::Unknown,
        _ => panic!("no mark of the matrix"),
    }
}

const fn row(
    id: &'static str,
    method: &'static str,
    path: &'static str,
    marks: [char; 5],
    limit: Option<u32>,
) -> Expected {
    let [admin, developer, viewer, key, nobody] = marks;
    let callers = [meets(admin), meets(developer), meets(viewer), meets(key), meets(nobody)];
    Expected { id, method, path, callers, limit }
}

const EVERYBODY: [char; 5] = ['✓', '✓', '✓', '✓', '✓'];
const PEOPLE: [char; 5] = ['✓', '✓', '✓', '–', '–'];
const READERS: [char; 5] = ['✓', '✓', '✓', '✓', '–'];
const ADMINS: [char; 5] = ['✓', '✗', '✗', '–', '–'];
const WRITERS: [char; 5] = ['✓', '✓', '✗', '✓', '–'];
const MONITOR: [char; 5] = ['–', '–', '–', '–', '–'];

#[rustfmt::skip]
pub(super) const EXPECTED: &[Expected] = &[
    row("sign_up", "POST", "/api/auth/signup", EVERYBODY, Some(5)),
    row("log_in", "POST", "/api/auth/login", EVERYBODY, Some(5)),
    row("show_me", "GET", "/api/auth/me", PEOPLE, Some(100)),
    row("update_profile", "PATCH", "/api/auth/profile", PEOPLE, Some(100)),
    row("change_password", "POST", "/api/auth/change-password", PEOPLE, Some(5)),
    row("request_password_reset", "POST", "/api/auth/password-reset/request", EVERYBODY, Some(5)),
    row("confirm_password_reset", "POST", "/api/auth/password-reset/confirm", EVERYBODY, Some(5)),
    row("log_out", "POST", "/api/auth/logout", PEOPLE, Some(100)),
    row("create_api_key", "POST", "/api/auth/api-keys", PEOPLE, Some(100)),
    row("list_api_keys", "GET", "/api/auth/api-keys", PEOPLE, Some(100)),
    row("revoke_api_key", "DELETE", "/api/auth/api-keys/{id}", PEOPLE, Some(100)),

    row("show_organization", "GET", "/api/organization", PEOPLE, Some(100)),
    row("update_organization", "PATCH", "/api/organization", ADMINS, Some(100)),
    row("update_features", "PATCH", "/api/organization/features", ADMINS, Some(100)),
    row("show_usage", "GET", "/api/organization/usage", PEOPLE, Some(100)),
    row("list_usage_alerts", "GET", "/api/organization/usage/alerts", PEOPLE, Some(100)),
    row("list_audit_logs", "GET", "/api/organization/audit-logs", ADMINS, Some(100)),
    row("list_plans", "GET", "/api/billing/plans", EVERYBODY, Some(100)),
    row("show_subscription", "GET", "/api/billing/subscription", ADMINS, Some(100)),

    row("list_users", "GET", "/api/users", PEOPLE, Some(100)),
    row("show_user", "GET", "/api/users/{id}", PEOPLE, Some(100)),
    row("change_user_role", "PATCH", "/api/users/{id}/role", ADMINS, Some(10)),
    row("change_user_status", "PATCH", "/api/users/{id}/status", ADMINS, Some(10)),
    row("remove_user", "DELETE", "/api/users/{id}", ADMINS, Some(10)),
    row("create_invitation", "POST", "/api/invitations", ADMINS, Some(10)),
    row("list_invitations", "GET", "/api/invitations", ADMINS, Some(100)),
    row("revoke_invitation", "DELETE", "/api/invitations/{id}", ADMINS, Some(100)),
    row("validate_invitation", "GET", "/api/invitations/validate/{token}", EVERYBODY, Some(100)),
    row("accept_invitation", "POST", "/api/invitations/accept", PEOPLE, Some(100)),

    row("list_executions", "GET", "/api/executions", READERS, Some(100)),
    row("get_execution", "GET", "/api/executions/{taskId}", READERS, Some(100)),
    row("get_execution_status", "GET", "/api/executions/{taskId}/status", READERS, Some(100)),
    row("get_execution_logs", "GET", "/api/executions/{taskId}/logs", READERS, Some(100)),
    row("list_execution_tests", "GET", "/api/executions/{taskId}/tests", READERS, Some(100)),
    row("get_execution_completeness", "GET", "/api/executions/{taskId}/completeness", READERS, Some(100)),
    row("follow_execution", "GET", "/api/executions/{taskId}/live", READERS, Some(100)),

    row("list_projects", "GET", "/api/projects", READERS, Some(100)),
    row("create_project", "POST", "/api/projects", WRITERS, Some(100)),
    row("show_project", "GET", "/api/projects/{projectId}", READERS, Some(100)),
    row("show_project_settings", "GET", "/api/projects/{projectId}/settings", READERS, Some(100)),
    row("save_project_settings", "PUT", "/api/projects/{projectId}/settings", WRITERS, Some(100)),
    row("show_default_settings", "GET", "/api/project-settings", READERS, Some(100)),
    row("list_variables", "GET", "/api/projects/{projectId}/env", READERS, Some(100)),
    row("create_variable", "POST", "/api/projects/{projectId}/env", WRITERS, Some(100)),
    row("update_variable", "PUT", "/api/projects/{projectId}/env/{varId}", WRITERS, Some(100)),
    row("delete_variable", "DELETE", "/api/projects/{projectId}/env/{varId}", WRITERS, Some(100)),

    row("setup_ingest", "POST", "/api/ingest/setup", WRITERS, Some(100)),
    row("ingest_events", "POST", "/api/ingest/event", WRITERS, Some(500)),
    row("teardown_ingest", "POST", "/api/ingest/teardown", WRITERS, Some(100)),

    row("show_root", "GET", "/", EVERYBODY, Some(100)),
    row("show_health", "GET", "/health", EVERYBODY, None),
    row("show_defaults", "GET", "/config/defaults", EVERYBODY, Some(100)),
    row("show_monitor_status", "GET", "/api/system/monitor-status", MONITOR, Some(60)),
    row("show_metrics", "GET", "/metrics", EVERYBODY, None),
    row("show_document", "GET", "/openapi.json", EVERYBODY, Some(100)),
    row("show_docs", "GET", "/docs", EVERYBODY, Some(100)),
];
