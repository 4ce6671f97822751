//! The protocol machine, by tables of what arrives and what must come out.

use async_graphql::{PathSegment, value};

use super::*;

/// What happens to the machine.
enum Step {
    Text(&'static str),
    Binary,
    Heard,
    /// Time passes, and what is due is done.
    Wait(u64),
    Accept(Option<u64>),
    Reject,
    Result(&'static str, Box<Response>),
    Finished(&'static str),
    ShutDown,
}

use Step::{Accept, Binary, Finished, Heard, Reject, Result as Gives, ShutDown, Text, Wait};

const INIT: &str = r#"{"type":"connection_init"}"#;
const SUB_A: &str = r#"{"type":"subscribe","id":"a","payload":{"query":"{x}"}}"#;
const SUB_B: &str = r#"{"type":"subscribe","id":"b","payload":{"query":"{x}"}}"#;
const SUB_C: &str = r#"{"type":"subscribe","id":"c","payload":{"query":"{x}"}}"#;
const ACK: &str = r#"send {"type":"connection_ack"}"#;

fn said(action: &Action) -> String {
    match action {
        Action::Send(text) => format!("send {text}"),
        Action::Ping => "ping".to_owned(),
        Action::Authenticate(payload) => match payload {
            Some(payload) => format!("authenticate {}", serde_json::to_string(payload).unwrap()),
            None => "authenticate".to_owned(),
        },
        Action::Recheck => "recheck".to_owned(),
        Action::Start { id, request } => format!("start {id} {}", request.query),
        Action::Stop(id) => format!("stop {id}"),
        Action::Close(close) => format!("close {}", close.code),
    }
}

/// Takes a machine with room for two operations, 3 s for `connection_init` and a ping each 10 s through `steps`.
#[track_caller]
fn check(steps: Vec<(Step, &str)>) {
    let config = SocketConfig {
        init_timeout: Duration::from_secs(3),
        keep_alive: Duration::from_secs(10),
        max_operations: 2,
        ..SocketConfig::default()
    };
    let mut now = Instant::now();
    let mut machine = Machine::new(&config, None, now);
    for (number, (step, expected)) in steps.into_iter().enumerate() {
        let actions: Vec<Action> = match step {
            Text(text) => machine.text(text).into_iter().collect(),
            Binary => machine.invalid().into_iter().collect(),
            Heard => {
                machine.heard(now);
                Vec::new()
            }
            Wait(seconds) => {
                now += Duration::from_secs(seconds);
                machine.elapsed(now)
            }
            Accept(good_for) => machine.accept(good_for.map(Duration::from_secs), now).into_iter().collect(),
            Reject => machine.reject().into_iter().collect(),
            Gives(id, response) => machine.response(id, *response),
            Finished(id) => machine.finished(id).into_iter().collect(),
            ShutDown => machine.shut_down().into_iter().collect(),
        };
        let actual = actions.iter().map(said).collect::<Vec<_>>().join(" | ");
        assert_eq!(actual, expected, "step {number}");
    }
}

fn result() -> Box<Response> {
    Box::new(Response::new(value!({ "x": 1 })))
}

fn refused() -> Box<Response> {
    Box::new(Response::from_errors(vec![ServerError::new("unknown field", None)]))
}

#[test]
fn an_operation_runs_from_init_to_complete() {
    check(vec![
        (Text(r#"{"type":"connection_init","payload":{"k":"v"}}"#), r#"authenticate {"k":"v"}"#),
        (Accept(None), ACK),
        (Text(SUB_A), "start a {x}"),
        (Gives("a", result()), r#"send {"type":"next","id":"a","payload":{"data":{"x":1}}}"#),
        (Finished("a"), r#"send {"type":"complete","id":"a"}"#),
        (Text(SUB_A), "start a {x}"),
    ]);
}

#[test]
fn an_operation_that_the_client_completes_stops_and_its_id_is_free_again() {
    check(vec![
        (Text(INIT), "authenticate"),
        (Accept(None), ACK),
        (Text(SUB_A), "start a {x}"),
        (Text(r#"{"type":"complete","id":"a"}"#), "stop a"),
        (Text(r#"{"type":"complete","id":"a"}"#), ""),
        (Gives("a", result()), ""),
        (Finished("a"), ""),
        (Text(SUB_A), "start a {x}"),
    ]);
}

#[test]
fn an_operation_that_cannot_be_executed_ends_with_an_error_message() {
    let error = r#"send {"type":"error","id":"a","payload":[{"message":"unknown field","extensions":{"code":"BAD_USER_INPUT"}}]} | stop a"#;
    check(vec![
        (Text(INIT), "authenticate"),
        (Accept(None), ACK),
        (Text(SUB_A), "start a {x}"),
        (Gives("a", refused()), error),
        (Finished("a"), ""),
    ]);
}

#[test]
fn a_result_with_errors_of_fields_is_a_result_and_the_operation_goes_on() {
    let mut response = result();
    response.errors = vec![ServerError::new("secret", None).with_path(vec![PathSegment::Field("x".into())])];
    check(vec![
        (Text(INIT), "authenticate"),
        (Accept(None), ACK),
        (Text(SUB_A), "start a {x}"),
        (
            Gives("a", response),
            r#"send {"type":"next","id":"a","payload":{"data":{"x":1},"errors":[{"message":"something unexpected went wrong on our side","path":["x"],"extensions":{"code":"INTERNAL_SERVER_ERROR"}}]}}"#,
        ),
        (Finished("a"), r#"send {"type":"complete","id":"a"}"#),
    ]);
}

#[test]
fn without_init_in_time_the_socket_closes_with_4408() {
    check(vec![(Wait(2), ""), (Wait(1), "close 4408"), (Text(INIT), ""), (Wait(60), "")]);
}

#[test]
fn init_in_time_ends_the_wait_for_it() {
    check(vec![(Wait(2), ""), (Text(INIT), "authenticate"), (Accept(None), ACK), (Wait(2), "")]);
}

#[test]
fn subscribing_before_the_acknowledgement_closes_with_4401() {
    check(vec![(Text(SUB_A), "close 4401")]);
    check(vec![(Text(INIT), "authenticate"), (Text(SUB_A), "close 4401"), (Accept(None), "")]);
}

#[test]
fn a_rejected_init_closes_with_4403() {
    check(vec![(Text(INIT), "authenticate"), (Reject, "close 4403"), (Text(SUB_A), "")]);
}

#[test]
fn a_second_init_closes_with_4429() {
    check(vec![(Text(INIT), "authenticate"), (Accept(None), ACK), (Text(INIT), "close 4429")]);
    check(vec![(Text(INIT), "authenticate"), (Text(INIT), "close 4429")]);
}

#[test]
fn an_operation_with_the_id_of_a_running_one_closes_with_4409() {
    check(vec![
        (Text(INIT), "authenticate"),
        (Accept(None), ACK),
        (Text(SUB_A), "start a {x}"),
        (Text(SUB_A), "close 4409"),
        (Gives("a", result()), ""),
    ]);
}

#[test]
fn what_the_protocol_does_not_know_closes_with_4400() {
    for bad in [
        "",
        "null",
        "[]",
        "{}",
        "not json",
        r#"{"type":"start","id":"1"}"#,
        r#"{"type":"connection_init","payload":7}"#,
        r#"{"type":"subscribe","payload":{"query":"{x}"}}"#,
        r#"{"type":"subscribe","id":7,"payload":{"query":"{x}"}}"#,
        r#"{"type":"subscribe","id":"a"}"#,
        r#"{"type":"subscribe","id":"a","payload":{"query":7}}"#,
        r#"{"type":"subscribe","id":"","payload":{"query":"{x}"}}"#,
        r#"{"type":"subscribe","id":"a","payload":{"query":"{x}","variables":[]}}"#,
        r#"{"type":"complete"}"#,
    ] {
        check(vec![(Text(INIT), "authenticate"), (Accept(None), ACK), (Text(bad), "close 4400"), (Text(SUB_A), "")]);
    }
    check(vec![(Binary, "close 4400"), (Binary, "")]);
}

#[test]
fn an_overlong_operation_id_closes_with_4400() {
    let text = format!(r#"{{"type":"subscribe","id":"{}","payload":{{"query":"{{x}}"}}}}"#, "i".repeat(129));
    let mut machine = Machine::new(&SocketConfig::default(), None, Instant::now());
    machine.text(INIT);
    machine.accept(None, Instant::now());
    assert_eq!(machine.text(&text).as_ref().map(said).as_deref(), Some("close 4400"));
}

#[test]
fn one_operation_too_many_is_refused_and_the_others_go_on() {
    let refusal = r#"send {"type":"error","id":"c","payload":[{"message":"too many operations run on this socket","extensions":{"code":"RATE_LIMITED"}}]}"#;
    check(vec![
        (Text(INIT), "authenticate"),
        (Accept(None), ACK),
        (Text(SUB_A), "start a {x}"),
        (Text(SUB_B), "start b {x}"),
        (Text(SUB_C), refusal),
        (Gives("b", result()), r#"send {"type":"next","id":"b","payload":{"data":{"x":1}}}"#),
        (Finished("a"), r#"send {"type":"complete","id":"a"}"#),
        (Text(SUB_C), "start c {x}"),
    ]);
}

#[test]
fn a_document_that_nests_too_deeply_is_refused_before_it_is_parsed() {
    let deep = "{a".repeat(100_000);
    let text = format!(r#"{{"type":"subscribe","id":"a","payload":{{"query":"{deep}"}}}}"#);
    let mut machine = Machine::new(&SocketConfig::default(), None, Instant::now());
    machine.text(INIT);
    machine.accept(None, Instant::now());
    let said = machine.text(&text).as_ref().map(said).unwrap();
    assert!(said.contains("nests too deeply") && said.contains("BAD_USER_INPUT"), "{said}");
}

#[test]
fn a_ping_of_the_protocol_is_answered_without_its_payload_and_a_pong_is_taken() {
    check(vec![
        (Text(r#"{"type":"ping"}"#), r#"send {"type":"pong"}"#),
        (Text(r#"{"type":"ping","payload":{"n":1}}"#), r#"send {"type":"pong"}"#),
        (Text(r#"{"type":"pong"}"#), ""),
        (Text(r#"{"type":"pong","payload":{"n":1}}"#), ""),
    ]);
}

#[test]
fn a_client_that_answers_is_pinged_on_and_a_silent_one_is_given_up() {
    check(vec![
        (Text(INIT), "authenticate"),
        (Accept(None), ACK),
        (Wait(10), "recheck | ping"),
        (Heard, ""),
        (Wait(10), "recheck | ping"),
        (Wait(9), ""),
        (Wait(1), "close 3008"),
    ]);
}

#[test]
fn an_expired_token_closes_with_4403_while_operations_run() {
    check(vec![
        (Text(INIT), "authenticate"),
        (Accept(Some(5)), ACK),
        (Text(SUB_A), "start a {x}"),
        (Wait(4), ""),
        (Wait(1), "close 4403"),
        (Gives("a", result()), ""),
    ]);
}

#[test]
fn a_token_found_revoked_at_a_recheck_closes_with_4403() {
    check(vec![
        (Text(INIT), "authenticate"),
        (Accept(None), ACK),
        (Wait(10), "recheck | ping"),
        (Reject, "close 4403"),
        (Reject, ""),
    ]);
}

#[test]
fn a_stopping_process_closes_with_1001_in_any_phase() {
    check(vec![(ShutDown, "close 1001"), (ShutDown, "")]);
    check(vec![(Text(INIT), "authenticate"), (ShutDown, "close 1001")]);
    check(vec![(Text(INIT), "authenticate"), (Accept(None), ACK), (ShutDown, "close 1001"), (Text(SUB_A), "")]);
}

#[test]
fn the_deadline_is_the_earliest_thing_to_do() {
    let now = Instant::now();
    let config = SocketConfig {
        init_timeout: Duration::from_secs(3),
        keep_alive: Duration::from_secs(10),
        ..SocketConfig::default()
    };
    let mut machine = Machine::new(&config, None, now);
    assert_eq!(machine.deadline(), now + Duration::from_secs(3));
    machine.text(INIT);
    assert_eq!(machine.deadline(), now + Duration::from_secs(10));
    machine.accept(Some(Duration::from_secs(4)), now);
    assert_eq!(machine.deadline(), now + Duration::from_secs(4));
}

#[test]
fn a_token_good_for_longer_than_time_can_tell_never_expires() {
    let now = Instant::now();
    let mut machine = Machine::new(&SocketConfig::default(), None, now);
    machine.text(INIT);
    machine.accept(Some(Duration::MAX), now);
    assert_eq!(machine.deadline(), now + SocketConfig::default().keep_alive);
}

#[test]
fn every_reason_fits_into_a_close_frame() {
    for close in [
        Close::GOING_AWAY,
        Close::TOO_BIG,
        Close::NOT_TEXT,
        Close::MALFORMED_FRAME,
        Close::SILENT,
        Close::INVALID,
        Close::UNAUTHORIZED,
        Close::FORBIDDEN,
        Close::EXPIRED,
        Close::INIT_TIMEOUT,
        Close::DUPLICATE,
        Close::TOO_MANY_INITS,
    ] {
        assert!(close.reason.len() <= 123, "{}", close.reason);
    }
}
