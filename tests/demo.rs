//! The demo as a newcomer runs it: the real program, its child process, and what it prints.
//!
//! **Invariant:** needs no network but loopback, and leaves nothing behind.

use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_letopis");

/// Runs the demo once in a folder for temporary files of its own, which must be empty afterwards.
fn demo(flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let output = Command::new(PROGRAM)
        .args(["demo", "--once", "--listen", "127.0.0.1:0"])
        .args(flags)
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .output()
        .expect("the program starts");
    let left = std::fs::read_dir(folder.path()).expect("the folder is readable").count();
    assert_eq!(left, 0, "files were left behind");
    output
}

#[test]
fn the_demo_tells_its_story_and_finds_it_again_in_graphql() {
    let output = demo(&["--customers", "30"]);
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}\n{errors}");
    let checked = printed.lines().find(|line| line.trim_start().starts_with("checked")).unwrap();
    let wanted = "64 messages in and 20 out, 34 conversations, 31 people (3 in two channels), 1 unrecognised";
    assert!(checked.contains(wanted), "{checked}");
    let shift = printed.lines().find(|line| line.trim_start().starts_with("shift")).unwrap();
    assert!(shift.contains("conversations with 2 operators") && shift.contains("case 1 opened"), "{shift}");
    assert_eq!(printed.lines().filter(|line| line.starts_with("curl -s http://127.0.0.1:")).count(), 5, "{printed}");
    assert!(!printed.contains('\x1b'), "moving lines are for terminals");
}

#[test]
fn a_folder_with_data_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("log.db"), b"somebody's events").unwrap();
    let output = demo(&["--data-dir", &folder.path().display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_demo_is_on_loopback_only() {
    let output = Command::new(PROGRAM).args(["demo", "--once", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("loopback"), "{output:?}");
}
