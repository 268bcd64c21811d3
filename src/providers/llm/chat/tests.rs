use super::super::tests::{Told, agent, answer, call, caller, conversation, prompt, read, settings};
use super::*;
use crate::providers::wire::Request;

fn chat(options: &[(&str, Value)]) -> Chat {
    Chat::new(&settings(options), OPENAI).expect("settings")
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(request.body.expose()).expect("JSON")
}

fn reply() -> Box<dyn Reply> {
    chat(&[]).reply()
}

fn delta(delta: Value) -> (&'static str, Value) {
    ("", json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
}

fn finish(reason: &str) -> (&'static str, Value) {
    ("", json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
}

fn told(events: &[(&str, Value)]) -> Told {
    read(reply(), events).expect("an answer")
}

const DONE: (&str, &str) = ("", "[DONE]");

fn done() -> (&'static str, Value) {
    (DONE.0, DONE.1.into())
}

#[test]
fn the_conversation_is_told_in_the_interface_s_words() {
    let request = chat(&[("temperature", json!(0.4)), ("max_tokens", json!(90))]).request(&conversation());
    assert_eq!(request.url, "https://vendor.example/v1/chat/completions");
    assert!(request.headers.iter().any(|(name, value)| *name == "authorization" && value.expose() == "Bearer secret"));
    let body = body(&request);
    assert_eq!(body["messages"][0], json!({"role": "system", "content": "You answer the telephone."}));
    let roles: Vec<&str> =
        body["messages"].as_array().into_iter().flatten().filter_map(|m| m["role"].as_str()).collect();
    let expected = ["system", "user", "assistant", "user", "assistant", "tool", "tool", "assistant", "user", "user"];
    assert_eq!(roles, expected);
    let asked = &body["messages"][4];
    assert_eq!(asked["content"], "One moment.");
    assert_eq!(asked["tool_calls"][0]["function"], json!({"name": "look", "arguments": "{\"day\":\"Monday\"}"}));
    assert_eq!(body["messages"][5]["content"], "{\"free\":[\"9:00\"]}");
    assert_eq!(
        body["messages"][6],
        json!({"role": "tool", "tool_call_id": "b", "content": "{\"error\":\"Give a day.\"}"})
    );
    assert_eq!(body["tools"][0]["function"]["name"], "look");
    assert_eq!(body["stream_options"], json!({"include_usage": true, "include_obfuscation": false}));
    assert_eq!((&body["temperature"], &body["max_completion_tokens"]), (&json!(0.4), &json!(90)));
}

#[test]
fn the_prompt_s_bytes_up_to_the_last_turn_stay_the_same() {
    let chat = chat(&[("temperature", json!(0.4))]);
    let all = conversation();
    let start = |turns: usize| {
        let prompt = Prompt { messages: all.messages[..turns].to_vec(), ..all.clone() };
        let text = String::from_utf8(chat.request(&prompt).body.expose().to_vec()).expect("text");
        let (start, _) = text.split_once("],\"stream\"").expect("messages before settings");
        start.to_owned()
    };
    assert!(start(7).starts_with(&start(5)) && start(5).starts_with(&start(2)), "a cache finds the start again");
    assert_eq!(start(7), start(7));
}

#[test]
fn parallel_calls_are_not_spoken_of_without_tools() {
    let chat = chat(&[("parallel_tool_calls", json!(false))]);
    let with = prompt(vec![caller("a")]);
    assert_eq!(body(&chat.request(&with))["parallel_tool_calls"], false);
    let without = Prompt { tools: vec![], ..with };
    let body = body(&chat.request(&without));
    assert!(body.get("parallel_tool_calls").is_none() && body.get("tools").is_none());
}

#[test]
fn text_is_handed_on_as_it_comes_and_the_usage_is_counted() {
    let told = told(&[
        delta(json!({"role": "assistant", "content": ""})),
        delta(json!({"content": "Hel"})),
        delta(json!({"content": "lo.", "new_field": 1})),
        finish("stop"),
        (
            "",
            json!({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 16}}}),
        ),
        done(),
    ]);
    let usage = Usage { input_tokens: 20, cached_tokens: 16, output_tokens: 3 };
    assert_eq!(told, Told { words: "Hello.".into(), calls: vec![], finish: Some((Finish::Complete, usage)) });
}

#[test]
fn a_tool_call_is_put_together_and_text_may_go_before_it() {
    let told = told(&[
        delta(json!({"content": "One moment."})),
        delta(
            json!({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "look", "arguments": ""}}]}),
        ),
        delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"day\":"}}]})),
        delta(json!({"content": null, "tool_calls": [{"index": 0, "function": {"arguments": "\"Monday\"}"}}]})),
        finish("tool_calls"),
        done(),
    ]);
    assert_eq!(told.words, "One moment.");
    assert_eq!(told.calls, [call("a", json!({"day": "Monday"}))]);
    assert_eq!(told.finish.map(|(finish, _)| finish), Some(Finish::ToolCalls));
}

#[test]
fn a_server_may_say_stop_after_tool_calls_leave_out_ids_and_done_and_send_objects() {
    let told = told(&[
        delta(json!({"tool_calls": [{"function": {"name": "look", "arguments": {"day": "Monday"}}}]})),
        (
            "",
            json!({"choices": [{"delta": {"content": ""}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 2}}),
        ),
    ]);
    assert_eq!(told.calls, [call("call_0", json!({"day": "Monday"}))]);
    let usage = Usage { input_tokens: 7, cached_tokens: 0, output_tokens: 2 };
    assert_eq!(told.finish, Some((Finish::ToolCalls, usage)));
}

#[test]
fn every_reason_to_finish_has_its_meaning() {
    let of = |reason: &str| told(&[delta(json!({"content": "a"})), finish(reason)]).finish.map(|(finish, _)| finish);
    assert_eq!(of("stop"), Some(Finish::Complete));
    assert_eq!(of("eos"), Some(Finish::Complete));
    assert_eq!(of("length"), Some(Finish::Length));
    assert_eq!(of("content_filter"), Some(Finish::Filtered));
    assert_eq!(of("tool_calls"), Some(Finish::Complete), "there are none");
    assert_eq!(of("a reason of tomorrow"), Some(Finish::Complete));
}

#[test]
fn a_refusal_is_no_speech() {
    let told = told(&[delta(json!({"refusal": "I cannot."})), finish("stop"), done()]);
    assert_eq!((told.words.as_str(), told.finish.map(|(finish, _)| finish)), ("", Some(Finish::Refused)));
}

#[test]
fn groq_s_usage_and_errors_are_found_where_it_puts_them() {
    let of = |last: Value| read(reply(), &[delta(json!({"content": "a"})), finish("stop"), ("", last)]);
    let usage = of(json!({"choices": [], "x_groq": {"usage": {"prompt_tokens": 5, "completion_tokens": 1}}}));
    assert_eq!(usage.ok().and_then(|told| told.finish).map(|(_, usage)| usage.input_tokens), Some(5));
    assert_eq!(of(json!({"x_groq": {"error": "over_capacity"}})).map_err(|e| e.kind()), Err("transient"));
}

#[test]
fn an_error_within_the_stream_is_told_by_its_kind() {
    let of = |error: Value| read(reply(), &[delta(json!({"content": "a"})), ("", json!({"error": error}))]);
    assert_eq!(of(json!({"type": "server_error", "message": "x"})).map_err(|e| e.kind()), Err("transient"));
    assert_eq!(of(json!({"code": "insufficient_quota"})).map_err(|e| e.kind()), Err("quota"));
    let filtered = of(json!({"code": "content_filter", "message": "x"})).expect("an end");
    assert_eq!(filtered.finish.map(|(finish, _)| finish), Some(Finish::Filtered));
}

#[test]
fn a_stream_that_breaks_off_is_an_error_and_one_that_said_why_it_ends_is_not() {
    assert_eq!(read(reply(), &[delta(json!({"content": "Hel"}))]).map_err(|e| e.kind()), Err("transient"));
    assert_eq!(read(reply(), &[]).map_err(|e| e.kind()), Err("transient"));
    assert_eq!(read(reply(), &[done()]).map_err(|e| e.kind()), Err("transient"), "done with nothing");
    assert!(read(reply(), &[delta(json!({"content": "Hello"})), finish("stop")]).is_ok());
    assert!(read(reply(), &[delta(json!({"content": "Hello"})), done()]).is_ok());
}

#[test]
fn what_is_no_json_object_breaks_the_protocol_and_is_not_quoted() {
    for data in ["null", "7", "{\"choices\": [{\"delta\": {\"content\": \"My na", "secret words"] {
        let error = read(reply(), &[("", data.into())]).expect_err("no object");
        assert_eq!(error.kind(), "protocol");
        assert!(!error.to_string().contains("My na") && !error.to_string().contains("secret"));
    }
    assert!(read(reply(), &[("", json!({"type": 7})), ("", json!({"choices": 7})), finish("stop")]).is_ok());
}

#[test]
fn thinking_out_loud_and_in_silence_is_neither_speech_nor_progress() {
    let mut reply = reply();
    let mut thoughts = Vec::new();
    for delta in [json!({"reasoning": "Hm."}), json!({"reasoning_content": "Hm."}), json!({"content": "<think>Hm."})] {
        let event = json!({"choices": [{"delta": delta}]}).to_string();
        reply.event(None, &event, &mut thoughts).expect("an event");
    }
    assert_eq!((thoughts.len(), reply.progress()), (0, 0));
    let event = json!({"choices": [{"delta": {"content": "</think>Yes."}}]}).to_string();
    reply.event(None, &event, &mut thoughts).expect("an event");
    assert_eq!((thoughts.len(), reply.progress()), (1, 1));
}

#[test]
fn ollama_is_woken_by_loading_its_model_and_openai_by_asking_for_it() {
    let warm = |dialect: Dialect| {
        Chat::new(&settings(&[]), dialect)
            .ok()
            .and_then(|chat| chat.warm())
            .map(|request| (request.method, request.url))
    };
    let load = Dialect { warm: Warm::Load, ..OPENAI };
    assert_eq!(warm(load), Some(("POST", "https://vendor.example/api/generate".into())));
    assert_eq!(warm(OPENAI), Some(("GET", "https://vendor.example/v1/models/model".into())));
}

#[test]
fn further_fields_of_a_server_of_one_s_own_are_passed_on() {
    let extra = json!({"chat_template_kwargs": {"enable_thinking": false}});
    let body = body(&chat(&[("extra_body", extra)]).request(&prompt(vec![agent("a", vec![]), answer("x", "", false)])));
    assert_eq!(body["chat_template_kwargs"]["enable_thinking"], false);
}
