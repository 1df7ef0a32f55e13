//! Every key: name, what it takes, the setting it fills, in the order of `config/default.toml`, which documents them.

use super::key::{Key, key, secret_key};
use super::kind::{
    Choice, Masked, MaskedPassword, MaskedTexts, Milliseconds, Optional, PerMinute, Seconds, Switch, Text,
    Texts, Whole, count, mebibytes, path,
};
use super::settings::StoreKind;
use crate::access::Network;
use crate::domain::plan::Plan;
use crate::http::headers::{CommonHeaders, HeaderSettings};
use crate::outbound::mail::{MailTls, Sender};
use crate::store::scylla::is_keyspace_name;
use crate::store::scylla::schema::{Replication, Tablets};
use crate::telemetry::{LogFormat, check_filter};

const PLANS: &[(&str, Plan)] = &[
    ("free", Plan::Free),
    ("starter", Plan::Starter),
    ("team", Plan::Team),
    ("business", Plan::Business),
    ("enterprise", Plan::Enterprise),
];

const LOG_FORMATS: &[(&str, LogFormat)] =
    &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];

const STORES: &[(&str, StoreKind)] = &[("embedded", StoreKind::Embedded), ("scylla", StoreKind::Scylla)];

const MAIL_TLS: &[(&str, MailTls)] =
    &[("starttls", MailTls::StartTls), ("implicit", MailTls::Implicit), ("none", MailTls::None)];

const TABLETS: &[(&str, Tablets)] = &[("auto", Tablets::Auto), ("on", Tablets::On), ("off", Tablets::Off)];

/// A day in seconds.
const DAY_S: u64 = 24 * 3600;

/// Every key.
#[must_use]
#[rustfmt::skip]
pub fn keys() -> Vec<Key> {
    vec![
        key("server.address", address(), |s| &mut s.server.address),
        key("server.port", count(0..=65_535), |s| &mut s.server.port),
        key("server.base_path", base_path(), |s| &mut s.server.base_path),
        key("server.production", Switch, |s| &mut s.headers.production),
        key("server.cors_origins", Texts(origin()), |s| &mut s.headers.origins),
        key("server.trusted_proxies", Texts(network()), |s| &mut s.access.trusted_proxies),
        key("server.public_url", Optional(public_url()), |s| &mut s.ingest.public_url),
        key("server.slow_request_ms", Milliseconds(1..=600_000), |s| &mut s.server.slow_request),
        key("server.drain_timeout_s", Seconds(0..=600), |s| &mut s.server.drain_timeout),

        key("connections.max", count(1..=1_000_000), |s| &mut s.connections.max),
        key("connections.head_timeout_s", Seconds(1..=600), |s| &mut s.connections.head_timeout),
        key("connections.idle_timeout_s", Seconds(1..=DAY_S), |s| &mut s.connections.idle_timeout),
        key("connections.stalled_timeout_s", Seconds(1..=3_600), |s| &mut s.connections.stalled_timeout),

        key("data.folder", path(), |s| &mut s.data_folder),
        key("data.cache_mib", mebibytes(1..=1 << 20), |s| &mut s.cache_bytes),
        key("data.journal_file_mib", mebibytes(1..=1_023), |s| &mut s.journal_file_bytes),
        key("data.reserve_mib", mebibytes(1..=1 << 20), |s| &mut s.reserve_bytes),

        key("store.kind", Choice(STORES), |s| &mut s.store),

        key("scylla.nodes", Texts(node()), |s| &mut s.scylla.nodes),
        key("scylla.keyspace", keyspace(), |s| &mut s.scylla.keyspace),
        key("scylla.datacenter", Optional(word()), |s| &mut s.scylla.datacenter),
        key("scylla.user", Optional(word()), |s| &mut s.scylla.user),
        secret_key("scylla.password", Optional(MaskedPassword), |s| &mut s.scylla.password),
        key("scylla.tls_authorities", Optional(path()), |s| &mut s.scylla.tls_authorities),
        key("scylla.tls_certificate", Optional(path()), |s| &mut s.scylla.tls_certificate),
        key("scylla.tls_key", Optional(path()), |s| &mut s.scylla.tls_key),
        key("scylla.apply_schema", Switch, |s| &mut s.scylla.apply_schema),
        key("scylla.replication", Texts(replication()), |s| &mut s.keyspace.replication),
        key("scylla.tablets", Choice(TABLETS), |s| &mut s.keyspace.tablets),

        key("organizations.plan", Choice(PLANS), |s| &mut s.engine.plan),

        key("access.token_lifetime_s", Seconds(60..=365 * DAY_S), |s| &mut s.access.token_lifetime),
        key("access.password_memory_mib", Whole(8..=1_024, 1 << 10), |s| &mut s.access.passwords.memory_kib),
        secret_key("access.token_secret", Optional(Masked), |s| &mut s.secrets.token),
        secret_key("access.key_hash_secret", Optional(Masked), |s| &mut s.secrets.key_hash),
        secret_key("access.sealing_keys", MaskedTexts, |s| &mut s.secrets.sealing),
        secret_key("access.monitor_secret", Optional(Masked), |s| &mut s.api.monitor_secret),

        key("rates.auth_per_minute", PerMinute, |s| &mut s.access.tiers.auth),
        key("rates.api_per_minute", PerMinute, |s| &mut s.access.tiers.api),
        key("rates.strict_per_minute", PerMinute, |s| &mut s.access.tiers.strict),
        key("rates.monitor_per_minute", PerMinute, |s| &mut s.access.tiers.monitor),
        key("rates.ingest_event_per_minute", PerMinute, |s| &mut s.access.tiers.ingest_event),
        key("rates.ingest_lifecycle_per_minute", PerMinute, |s| &mut s.access.tiers.ingest_lifecycle),
        key("rates.failed_credentials_per_minute", PerMinute, |s| &mut s.access.tiers.failed_credentials),

        key("ingest.budget_mib", mebibytes(32..=1 << 20), |s| &mut s.ingest.budget_bytes),
        key("ingest.budget_wait_ms", Milliseconds(0..=7_000), |s| &mut s.ingest.budget_wait),
        key("ingest.body_timeout_s", Seconds(1..=600), |s| &mut s.ingest.body_timeout),

        key("sessions.lifetime_s", Seconds(60..=365 * DAY_S), |s| &mut s.engine.session_lifetime),
        key("sessions.archive_s", Seconds(60..=365 * DAY_S), |s| &mut s.engine.session_archive),
        key("sessions.late_events_s", Seconds(0..=600), |s| &mut s.engine.late_events),
        key("sessions.orphan_sweep_s", Seconds(1..=600), |s| &mut s.engine.orphan_sweep_interval),

        key("live.sockets_per_organization", count(1..=1_000_000), |s| &mut s.live.sockets_per_organization_max),
        key("live.handshakes", count(1..=1_000_000), |s| &mut s.live.handshakes_max),
        key("live.stalled_timeout_s", Seconds(1..=24), |s| &mut s.live.stall.window),

        key("mail.host", Optional(mail_host()), |s| &mut s.mail.host),
        key("mail.port", count(1..=65_535), |s| &mut s.mail.port),
        key("mail.tls", Choice(MAIL_TLS), |s| &mut s.mail.tls),
        key("mail.tls_authorities", Optional(path()), |s| &mut s.mail.tls_authorities),
        key("mail.user", Optional(word()), |s| &mut s.mail.user),
        secret_key("mail.password", Optional(MaskedPassword), |s| &mut s.mail.password),
        key("mail.from", Optional(sender()), |s| &mut s.mail.from),
        key("mail.from_name", name(), |s| &mut s.mail.from_name),
        key("mail.dashboard_url", Optional(public_url()), |s| &mut s.mail.dashboard_url),
        key("mail.timeout_s", Seconds(1..=300), |s| &mut s.mail.timeout),

        key("log.filter", log_filter(), |s| &mut s.log.filter),
        key("log.format", Choice(LOG_FORMATS), |s| &mut s.log.format),
    ]
}

fn address() -> Text<std::net::IpAddr> {
    Text { what: "an IP address", read: |text| text.parse().ok(), show: ToString::to_string }
}

fn public_url() -> Text<String> {
    Text {
        what: "an http or https URL without a slash at the end",
        read: |text| {
            let url = url::Url::parse(text).ok()?;
            let fits = matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
            (fits && !text.ends_with('/')).then(|| text.to_owned())
        },
        show: Clone::clone,
    }
}

fn network() -> Text<Network> {
    Text {
        what: "an address or a network like 10.0.0.0/8",
        read: |text| text.parse().ok(),
        show: ToString::to_string,
    }
}

fn origin() -> Text<String> {
    Text {
        what: "an origin like https://dash.example.com, without a path",
        read: |text| {
            let alone = HeaderSettings { origins: vec![text.to_owned()], ..HeaderSettings::default() };
            CommonHeaders::new(&alone).is_ok().then(|| text.to_owned())
        },
        show: Clone::clone,
    }
}

fn node() -> Text<String> {
    Text {
        what: "a host name or address, with a port if it is not 9042",
        read: |text| {
            let plain = text.parse::<std::net::Ipv6Addr>().is_err();
            let spaced = text.contains(|letter: char| letter.is_whitespace() || letter == '/');
            (!text.is_empty() && plain && !spaced).then(|| text.to_owned())
        },
        show: Clone::clone,
    }
}

fn keyspace() -> Text<String> {
    Text {
        what: "1 to 48 letters, digits and underscores, beginning with a letter or digit",
        read: |text| is_keyspace_name(text).then(|| text.to_owned()),
        show: Clone::clone,
    }
}

fn word() -> Text<String> {
    Text {
        what: "a name",
        read: |text| (!text.trim().is_empty()).then(|| text.to_owned()),
        show: Clone::clone,
    }
}

fn mail_host() -> Text<String> {
    Text {
        what: "a host name or address without a port",
        read: |text| {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || ".-_:".contains(letter);
            let has_port = text.contains(':') && text.parse::<std::net::Ipv6Addr>().is_err();
            (!text.is_empty() && !has_port && text.chars().all(plain)).then(|| text.to_owned())
        },
        show: Clone::clone,
    }
}

fn sender() -> Text<Sender> {
    Text { what: "one e-mail address", read: |text| text.parse().ok(), show: ToString::to_string }
}

fn name() -> Text<String> {
    Text {
        what: "at most 100 characters on one line",
        read: |text| {
            let fits = text.chars().count() <= 100 && !text.contains(char::is_control);
            fits.then(|| text.trim().to_owned())
        },
        show: Clone::clone,
    }
}

fn replication() -> Text<Replication> {
    Text {
        what: "a datacenter and its number of replicas, as in dc1:3,",
        read: |text| {
            let (datacenter, replicas) = text.rsplit_once(':')?;
            let replicas = replicas.parse().ok().filter(|number| (1..=64).contains(number))?;
            (!datacenter.is_empty()).then(|| Replication { datacenter: datacenter.to_owned(), replicas })
        },
        show: |value| format!("{}:{}", value.datacenter, value.replicas),
    }
}

fn log_filter() -> Text<String> {
    Text {
        what: "a level or target=level, comma-separated",
        read: |text| check_filter(text).is_ok().then(|| text.to_owned()),
        show: Clone::clone,
    }
}

fn base_path() -> Text<String> {
    Text {
        what: "empty, or a path that begins with a slash and ends without one",
        read: |text| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
            let shaped = text.starts_with('/') && !text.ends_with('/') && !text.contains("//");
            (text.is_empty() || (shaped && text.bytes().all(plain))).then(|| text.to_owned())
        },
        show: Clone::clone,
    }
}
