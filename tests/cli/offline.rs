//! The same commands with `--offline`, on the store of a server that does not run.

use serde_json::{Value, json};

use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::cql;
use crate::support::process::Process;
use crate::support::shell::Shell;

on_each_store_beneath! {
    an_operator_works_on_the_store_of_a_server_that_does_not_run,
}

const PASSWORD: &str = "Correct-horse-1!";
/// The author of what operators do.
const OPERATOR: &str = "000000000000000000000000";

fn offline(command: &str) -> String {
    format!("{command} --offline --data data")
}

fn actions(log: &Value) -> Vec<&str> {
    log["data"]["logs"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect()
}

async fn an_operator_works_on_the_store_of_a_server_that_does_not_run(beneath: &Beneath) {
    let folder = tempfile::tempdir().unwrap();
    beneath.configure(folder.path());
    // Each command reads the journal's file to its end.
    let shell = Shell::new(folder.path()).with("RUNSTREAM_DATA_JOURNAL_FILE_MIB", "1");
    let run = |command: &str, input: &str| shell.run(&offline(command), input);
    let json_of = |command: &str, input: &str| shell.json(&offline(command), input);
    let refused = |command: &str, input: &str, part: &str| {
        let (code, why) = shell.fail(&offline(command), input);
        assert!(code == 1 && why.contains(part), "{command}: {why}");
    };

    // A deployment begins here.
    let made = json_of("org create 'Pinewood Labs' --email rosa@pinewood.test --name Rosa", PASSWORD);
    let token = made["token"].as_str().unwrap();
    refused("org create Other --email rosa@pinewood.test --name Rosa", PASSWORD, "Email already registered");
    let organizations = json_of("org list", "");
    assert_eq!(organizations["organizations"][0]["slug"], "pinewood-labs");
    assert_eq!(organizations["organizations"][0]["userCount"], 1);
    refused("user suspend rosa@pinewood.test", "", "Cannot suspend last admin");
    refused("user role rosa@pinewood.test viewer", "", "Cannot remove last admin");
    refused("user remove rosa@pinewood.test", "", "Cannot delete last admin");

    assert_eq!(json_of("org show", "")["organization"]["slug"], "pinewood-labs");

    let project = run("project create 'Web shop'", "");
    assert_eq!(json_of("project list", "")["projects"][0]["id"], project.as_str());
    refused("project create 'web  shop'", "", "similar name");
    let eve = run("user create eve@pinewood.test --name Eve --role viewer", PASSWORD);
    refused(
        "user create eve@pinewood.test --name Eve --role viewer",
        PASSWORD,
        "User already in organization",
    );
    refused("user create ivo@pinewood.test --name Ivo --role viewer", "weak", "Weak password");
    assert_eq!(json_of("invite list", "")["invitations"], json!([]), "nothing is left of what was refused");
    assert_eq!(json_of("user role eve@pinewood.test developer", "")["user"]["role"], "developer");
    let shown = json_of("user show eve@pinewood.test", "");
    assert_eq!((&shown["user"]["id"], &shown["user"]["role"]), (&json!(eve), &json!("developer")));
    let key = run("key create --user eve@pinewood.test --name ci", "");
    let voided = run("key create --user rosa@pinewood.test", "");
    refused("key create --user nobody@pinewood.test", "", "User not found");
    let keys = json_of("key list", "");
    assert_eq!(keys["data"].as_array().unwrap().len(), 2);
    run("user reset-password rosa@pinewood.test", "Another-horse-2!");
    refused("user reset-password rosa@pinewood.test", "weak", "Weak password");
    let keys = json_of("key list", "");
    assert_eq!((&keys["data"][0]["owner"], keys["data"][1].is_null()), (&json!("eve@pinewood.test"), true));
    let spare = run("key create --user eve@pinewood.test --name spare", "");
    let keys = json_of("key list", "");
    let is_spare = |key: &&Value| key["name"] == "spare";
    let spare_id = keys["data"].as_array().unwrap().iter().find(is_spare).unwrap()["id"].as_str().unwrap();
    run(&format!("key revoke {spare_id}"), "");
    refused(&format!("key revoke {spare_id}"), "", "API key not found");
    assert_eq!(json_of("key list", "")["data"].as_array().unwrap().len(), 1);
    let link = run("invite create ivo@pinewood.test --role viewer", "");
    refused("invite create ivo@pinewood.test --role viewer", "", "Invitation already sent");
    run("invite create una@pinewood.test --role viewer", "");
    run("invite revoke una@pinewood.test", "");
    refused("invite revoke una@pinewood.test", "", "Invitation not found");
    assert_eq!(json_of("invite list", "")["invitations"][0]["invitedByName"], "Operator");
    run("user create max@pinewood.test --name Max --role viewer", PASSWORD);
    run("user suspend max@pinewood.test", "");
    run("user create tom@pinewood.test --name Tom --role viewer", PASSWORD);
    run("user suspend tom@pinewood.test", "");
    run("user restore tom@pinewood.test", "");
    run("user create lea@pinewood.test --name Lea --role viewer", PASSWORD);
    assert_eq!(json_of("user remove lea@pinewood.test", "")["user"]["email"], "lea@pinewood.test");

    // Everything has been written down with what it changed, under the operator's name.
    let log = json_of("audit list --limit 100", "");
    let entries = log["data"]["logs"].as_array().unwrap();
    assert!(
        entries.iter().all(|entry| entry["userId"] == OPERATOR && entry["details"]["actor"] == "operator")
    );
    let count = |action: &str| actions(&log).iter().filter(|found| **found == action).count();
    for (action, times) in [
        ("auth.signup", 5),
        ("invitation.created", 6),
        ("invitation.accepted", 4),
        ("invitation.revoked", 1),
        ("project.created", 1),
        ("apikey.created", 3),
        ("apikey.revoked", 1),
        ("auth.password_changed", 1),
        ("user.role_changed", 1),
        ("user.status_changed", 3),
        ("user.removed", 1),
    ] {
        assert_eq!(count(action), times, "{action}: {:?}", actions(&log));
    }
    assert_eq!(log["data"]["total"], 27);
    let removed = json_of("audit list --action user.removed", "");
    assert_eq!(removed["data"]["logs"][0]["details"]["targetEmail"], "lea@pinewood.test");

    // With a second one the organization has to be named.
    run("org create Other --email ada@other.test --name Ada", PASSWORD);
    refused("user list", "", "There are 2 organizations");
    refused("user list --org third", "", "Organization not found");
    let others = json_of("user list --org other", "");
    assert_eq!(others["users"][0]["email"], "ada@other.test");
    refused("user show eve@pinewood.test --org other", "", "User not found");
    refused(&format!("user remove {eve} --org other"), "", "User not found");

    let server = Process::serve(folder.path(), &["--set", "rates.auth_per_minute=1000"]);
    let (code, why) = shell.fail(&offline("user list --org other"), "");
    assert!(
        code == 1 && why.contains("is used by another server") && why.contains("stop the server first"),
        "{why}"
    );
    if let Beneath::Scylla(_) = beneath {
        let (code, why) = shell.fail("user list --org other --offline --data beside", "");
        assert!(
            code == 1 && why.contains("is in use (servers at work: 1)") && why.contains("stop them first"),
            "{why}"
        );
    }
    let shell = shell.with("RUNSTREAM_URL", &server.url);
    let void = shell.with("RUNSTREAM_TOKEN", token).fail("user list", "");
    assert!(void.1.contains("Invalid token"), "the reset has voided it: {void:?}");
    assert!(shell.fail("user sign-in rosa@pinewood.test", PASSWORD).1.contains("Invalid credentials"));
    let rosa =
        shell.with("RUNSTREAM_TOKEN", &shell.run("user sign-in rosa@pinewood.test", "Another-horse-2!"));
    assert_eq!(rosa.json("project list", "")["projects"][0]["id"], project.as_str());
    let tom = rosa.json("user show tom@pinewood.test", "");
    assert_eq!(tom["user"]["status"], "active");
    assert!(shell.fail("user sign-in max@pinewood.test", PASSWORD).1.contains("Account suspended"));
    let told = rosa.json("audit list --user 000000000000000000000000 --limit 100", "");
    assert_eq!(told["data"]["total"], 27);
    let status = |key: &str| {
        let asked = std::process::Command::new("curl")
            .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", &format!("x-api-key: {key}")])
            .arg(format!("{}/api/projects", server.url))
            .output()
            .unwrap();
        String::from_utf8(asked.stdout).unwrap()
    };
    assert_eq!((status(&key), status(&voided)), ("200".to_owned(), "401".to_owned()));
    assert_eq!(status(&spare), "401");
    let token = link.split_once("token=").unwrap().1;
    let body =
        json!({ "email": "ivo@pinewood.test", "password": PASSWORD, "name": "Ivo", "inviteToken": token });
    let client = crate::support::account::Account::client_of(&server.url);
    let ivo = crate::support::account::created(&client, "/api/auth/signup", &body).await;
    assert_eq!(ivo["user"]["role"], "viewer");
    server.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn on_scylla_a_server_that_was_killed_is_not_in_the_way() {
    let keyspace = cql::keyspace().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("runstream.toml"), cql::configuration(&keyspace)).unwrap();
    let server = Process::serve(folder.path(), &[]);
    server.signal("KILL");
    server.wait();
    let shell = Shell::new(folder.path());
    let listed = shell.json("org list --offline --data beside", "");
    assert_eq!(listed["organizations"], json!([]));
}
