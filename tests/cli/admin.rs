//! `runstream org`, `user`, `key`, `invite`, `project` and `audit` through a running server.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::process::{Process, text};
use crate::support::shell::Shell;

/// Lifts the tier that signing up and in would run into.
const NO_TIERS: [&str; 4] =
    ["--set", "rates.auth_per_minute=1000000", "--set", "rates.strict_per_minute=1000000"];
const PASSWORD: &str = "Correct-horse-1!";

/// The lines of a table without its heads, as words.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
}

fn listed<'j>(answer: &'j Value, list: &str, member: &str) -> Vec<&'j str> {
    let list = answer[list].as_array().unwrap();
    list.iter().map(|one| one[member].as_str().unwrap()).collect()
}

#[test]
fn an_organization_is_set_up_and_run_from_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::serve(folder.path(), &NO_TIERS);
    let shell = Shell::new(folder.path()).with("RUNSTREAM_URL", &server.url);
    let made = shell.json("org create 'Pinewood Labs' --email rosa@pinewood.test --name Rosa", PASSWORD);
    assert_eq!(made["user"]["role"], "admin");
    assert_eq!(made["user"]["organizationName"], "Pinewood Labs");
    let rosa = shell.with("RUNSTREAM_TOKEN", made["token"].as_str().unwrap());
    let shown = rosa.json("org show", "");
    assert_eq!(shown["organization"]["id"], made["user"]["organizationId"]);
    assert_eq!((&shown["organization"]["slug"], &shown["success"]), (&json!("pinewood-labs"), &json!(null)));

    let project = rosa.run("project create 'Web shop'", "");
    assert_eq!(listed(&rosa.json("project list", ""), "projects", "id"), [project.as_str()]);
    let key = rosa.run("key create --name nightly", "");
    assert!(key.starts_with("pk_live_") && key.len() == 56, "{key}");
    let keys = rosa.json("key list", "");
    assert_eq!(listed(&keys, "data", "name"), ["nightly"]);
    assert!(!keys.to_string().contains(&key));
    let key_id = keys["data"][0]["id"].as_str().unwrap();

    let eve = rosa.run("user create eve@pinewood.test --name 'Eve Stone' --role viewer", "Only-looking-2!\n");
    let people = rosa.run("user list", "");
    assert!(people.starts_with("ID"), "{people}");
    let people = rows(&people);
    assert_eq!(people.len(), 2, "{people:?}");
    assert_eq!(&people[0][..4], [eve.as_str(), "eve@pinewood.test", "viewer", "active"]);
    assert_eq!(rosa.json("user show eve@pinewood.test", "")["user"]["name"], "Eve Stone");

    // By a file, by the environment, by standard input.
    std::fs::write(folder.path().join("eves"), "Only-looking-2!\r\n").unwrap();
    let by_file = shell.run("user sign-in eve@pinewood.test --password-file eves", "");
    let by_input = shell.run("user sign-in eve@pinewood.test", "Only-looking-2!\n");
    let by_environment =
        shell.with("RUNSTREAM_PASSWORD", "Only-looking-2!").json("user sign-in eve@pinewood.test", "");
    assert_eq!(by_environment["user"]["id"], eve.as_str());
    let as_eve = shell.with("RUNSTREAM_EMAIL", "eve@pinewood.test");
    as_eve.run("user list --password-file -", "Only-looking-2!");
    let eves = shell.with("RUNSTREAM_TOKEN", &by_file);
    let (code, why) = eves.fail("user role rosa@pinewood.test viewer", "");
    assert!(code == 1 && why.contains("Insufficient permissions") && why.contains("403"), "{why}");

    assert_eq!(rosa.json(&format!("user role {eve} developer"), "")["user"]["role"], "developer");
    assert_eq!(rosa.json("user suspend eve@pinewood.test", "")["user"]["status"], "suspended");
    let (code, why) = eves.fail("user list", "");
    assert!(code == 1 && why.contains("Account suspended"), "{why}");
    rosa.run("user restore eve@pinewood.test", "");
    eves.run("user list", "");
    eves.run("user sign-out", "");
    assert!(eves.fail("user list", "").1.contains("Invalid token"));
    shell.with("RUNSTREAM_TOKEN", &by_input).run("user list", "");
    let (code, why) = rosa.fail("user suspend rosa@pinewood.test", "");
    assert!(code == 1 && why.contains("Cannot change own status"), "{why}");

    let said = rosa.try_run("user reset-password eve@pinewood.test", "");
    assert!(said.code == 0 && said.out.is_empty() && said.errors.contains("letter"), "{said:?}");

    let link = rosa.run("invite create ivo@pinewood.test --role developer", "");
    assert!(link.contains("/signup?token="), "{link}");
    assert_eq!(listed(&rosa.json("invite list", ""), "invitations", "email"), ["ivo@pinewood.test"]);
    rosa.run("invite revoke IVO@pinewood.test", "");
    assert_eq!(listed(&rosa.json("invite list", ""), "invitations", "email"), [""; 0]);
    let (code, why) = rosa.fail("invite revoke ivo@pinewood.test", "");
    assert!(code == 1 && why.contains("ivo@pinewood.test"), "{why}");

    rosa.run(&format!("key revoke {key_id}"), "");
    let (code, why) = rosa.fail(&format!("key revoke {key_id}"), "");
    assert!(code == 1 && why.contains("API key not found"), "{why}");
    rosa.run("user remove eve@pinewood.test", "");
    assert_eq!(listed(&rosa.json("user list", ""), "users", "email"), ["rosa@pinewood.test"]);

    let log = rosa.json("audit list --target-type user --action user.status_changed", "");
    let statuses: Vec<_> =
        log["data"]["logs"].as_array().unwrap().iter().map(|e| &e["details"]["newStatus"]).collect();
    assert_eq!(statuses, ["active", "suspended"]);
    assert_eq!(log["data"]["logs"][0]["userId"], made["user"]["id"]);
    let page = rosa.json("audit list --limit 2 --offset 1", "");
    assert_eq!((page["data"]["logs"].as_array().unwrap().len(), &page["data"]["limit"]), (2, &json!(2)));
    let table = rosa.run("audit list --action user.removed", "");
    assert!(table.starts_with("TIME") && rows(&table).len() == 1, "{table}");
    let (code, why) = rosa.fail("audit list --since yesterday", "");
    assert!(code == 1 && why.contains("Invalid date"), "{why}");
    server.end();
}

#[test]
fn what_goes_wrong_is_said_in_a_sentence_with_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::serve(folder.path(), &NO_TIERS);
    let shell = Shell::new(folder.path()).with("RUNSTREAM_URL", &server.url);
    let create = "org create Pinewood --email rosa@pinewood.test --name Rosa";
    let (code, why) = shell.fail(create, "weak");
    assert!(code == 1 && why.contains("Weak password: The password must"), "{why}");
    let (code, why) = shell.fail(create, "");
    assert!(code == 1 && why.contains("cannot read a password from -"), "{why}");
    let token = shell.run(create, PASSWORD);
    let rosa = shell.with("RUNSTREAM_TOKEN", &token);

    let check = |shell: &Shell<'_>, line: &str, input: &str, code: i32, part: &str| {
        let said = shell.fail(line, input);
        assert!(said.0 == code && said.1.contains(part), "{line}: {said:?}");
        assert!(code == 2 || said.1.matches("runstream: ").count() == 1, "{said:?}");
        assert!(!said.1.contains("Wrong-horse"), "{said:?}");
    };
    check(&shell, "user sign-in rosa@pinewood.test", "Wrong-horse-1!", 1, "Invalid credentials");
    let wrong = shell.with("RUNSTREAM_PASSWORD", "Wrong-horse-1!");
    check(&wrong, "user list --as rosa@pinewood.test", "", 1, "Invalid credentials");
    check(&shell, "user list --as rosa@pinewood.test", "", 2, "RUNSTREAM_PASSWORD");
    check(&shell, "user list", "", 2, "RUNSTREAM_TOKEN");
    check(&shell.with("RUNSTREAM_TOKEN", "x"), "user list", "", 1, "Invalid token");
    check(
        &shell,
        "user list --as rosa@pinewood.test --password-file missing",
        "",
        1,
        "cannot read a password from missing",
    );
    check(&rosa, "user list --org pinewood", "", 2, "--org is for --offline");
    check(&rosa, "org list", "", 2, "--offline");
    check(&rosa, "key create --user rosa@pinewood.test", "", 2, "--user is for --offline");
    check(&rosa, "user role rosa@pinewood.test owner", "", 2, "admin, developer or viewer");
    check(&rosa, "user show nobody@pinewood.test", "", 1, "no member nobody@pinewood.test");
    check(&rosa, "user remove 690a11b2c3d4e5f607182930", "", 1, "no member");
    check(&rosa, "key revoke ../../users", "", 2, "24 lower-case hex");
    check(&rosa, "project create ''", "", 1, "Project name is required");
    // No flag takes a secret: others read command lines.
    check(
        &shell,
        "user list --as rosa@pinewood.test --password x",
        "",
        2,
        "unexpected argument '--password'",
    );
    check(&shell, "user list --token x", "", 2, "unexpected argument '--token'");
    // An invitation whose sign-up does not work out is not left behind.
    check(&rosa, "user create ivo@pinewood.test --name Ivo --role viewer", "weak", 1, "Weak password");
    assert_eq!(rosa.json("invite list", "")["invitations"], json!([]));
    let other = shell.run("org create Other --email ada@other.test --name Ada", PASSWORD);
    let create = "user create rosa@pinewood.test --name Rosa --role viewer";
    check(&shell.with("RUNSTREAM_TOKEN", &other), create, PASSWORD, 1, "account in another organization");

    check(&shell, "user list --offline --data data", "", 1, "stop the server first");
    check(&shell, "user list --offline --data elsewhere", "", 1, "there is no data folder elsewhere");
    assert!(!folder.path().join("elsewhere").exists());
    check(&shell, "user list --offline --set data.foldr=x", "", 2, "data.foldr");
    server.end();
    check(&rosa, "user list", "", 1, "cannot connect to");
    check(&shell, "user sign-in rosa@pinewood.test --offline --data data", PASSWORD, 2, "a server that runs");
}

/// Types at a terminal of its own, which the program `script` of every Linux system gives it: after each question its
/// answer. Whether the command went well, and all that the terminal has shown.
#[cfg(target_os = "linux")]
fn typed(arguments: &str, answers: &[(&str, &str)]) -> (bool, String) {
    let command = format!("tty; exec {} {arguments}", env!("CARGO_BIN_EXE_runstream"));
    let mut terminal = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut shown = Vec::new();
    for (question, answer) in answers {
        while !shown.ends_with(question.as_bytes()) {
            let mut byte = [0];
            output.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error}: {}", text(&shown)));
            shown.push(byte[0]);
        }
        let of_terminal = text(&shown).lines().next().unwrap().to_owned();
        // It asks first and stops showing a moment later.
        let shows = || {
            let states = Command::new("stty").args(["-F", &of_terminal, "-a"]).output().unwrap();
            !text(&states.stdout).contains("-echo ")
        };
        let patience = Instant::now() + Duration::from_secs(20);
        while shows() {
            assert!(Instant::now() < patience, "what is typed is shown");
            thread::sleep(Duration::from_millis(10));
        }
        writeln!(input, "{answer}").unwrap();
    }
    output.read_to_end(&mut shown).unwrap();
    (terminal.wait().unwrap().success(), text(&shown))
}

#[cfg(target_os = "linux")]
#[test]
fn a_password_that_is_typed_is_not_shown_and_a_new_one_is_asked_for_twice() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::serve(folder.path(), &NO_TIERS);
    let new = format!("org create Pinewood --email rosa@pinewood.test --name Rosa --url {}", server.url);
    let (done, shown) = typed(&new, &[("Password: ", PASSWORD), ("Again: ", "Correct-horse-2!")]);
    assert!(!done && shown.contains("the two passwords differ"), "{shown}");
    let (done, shown) = typed(&new, &[("Password: ", PASSWORD), ("Again: ", PASSWORD)]);
    assert!(done && !shown.contains(PASSWORD), "{shown}");
    let sign_in = format!("user sign-in rosa@pinewood.test --url {}", server.url);
    let (done, shown) = typed(&sign_in, &[("Password: ", PASSWORD)]);
    assert!(done && shown.contains("eyJ") && !shown.contains(PASSWORD), "{shown}");
    server.end();
}
