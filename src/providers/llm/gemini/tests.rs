use super::super::tests::{Told, agent, answer, call, caller, conversation, prompt, read, settings};
use super::*;

fn gemini(model: &str, options: &[(&str, Value)]) -> Gemini {
    Gemini::new(&Settings { model: model.into(), ..settings(options) }).expect("settings")
}

fn body(vendor: &Gemini, prompt: &Prompt) -> Value {
    serde_json::from_slice(vendor.request(prompt).body.expose()).expect("JSON")
}

fn told(events: &[Value]) -> Result<Told, ProviderError> {
    let events: Vec<(&str, Value)> = events.iter().map(|event| ("", event.clone())).collect();
    read(gemini("gemini-3.8-flash", &[]).reply(), &events)
}

fn kind(events: &[Value]) -> &'static str {
    told(events).err().map_or("none", |error| error.kind())
}

fn parts(parts: Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}}]})
}

fn finish(reason: &str) -> Value {
    let usage = json!({"promptTokenCount": 40, "cachedContentTokenCount": 32, "candidatesTokenCount": 5, "thoughtsTokenCount": 2});
    json!({"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": reason}], "usageMetadata": usage})
}

#[test]
fn the_conversation_is_told_in_the_interface_s_words() {
    let vendor = gemini("models/gemini-3.8-flash", &[("temperature", json!(0.4))]);
    let request = vendor.request(&conversation());
    assert_eq!(
        request.url, "https://vendor.example/v1/models/gemini-3.8-flash:streamGenerateContent?alt=sse",
        "and no key in it"
    );
    let body = body(&vendor, &conversation());
    let roles: Vec<&str> =
        body["contents"].as_array().into_iter().flatten().filter_map(|c| c["role"].as_str()).collect();
    assert_eq!(roles, ["user", "model", "user", "model", "user", "model", "user"]);
    assert_eq!(body["contents"][3]["parts"][1]["functionCall"]["args"], json!({"day": "Monday"}));
    let results = &body["contents"][4]["parts"];
    assert_eq!(results[0]["functionResponse"]["response"], json!({"output": {"free": ["9:00"]}}));
    assert_eq!(results[1]["functionResponse"]["response"], json!({"error": "Give a day."}));
    assert_eq!(body["tools"][0]["functionDeclarations"][0]["name"], "look");
    assert_eq!(body["generationConfig"]["temperature"], 0.4);
}

#[test]
fn the_prompt_s_bytes_up_to_the_last_turn_stay_the_same() {
    let vendor = gemini("gemini-3.8-flash", &[]);
    let all = conversation();
    let start = |turns: usize| {
        let prompt = Prompt { messages: all.messages[..turns].to_vec(), ..all.clone() };
        let text = String::from_utf8(vendor.request(&prompt).body.expose().to_vec()).expect("text");
        text.split_once("]}],\"generationConfig\"").expect("contents before settings").0.to_owned()
    };
    assert!(start(7).starts_with(&start(5)) && start(5).starts_with(&start(2)));
}

#[test]
fn a_signature_is_shown_again_and_one_of_another_vendor_s_call_stood_in_for() {
    let part = json!({"functionCall": {"name": "look", "args": {"day": "Monday"}}, "thoughtSignature": "c2ln"});
    let made = told(&[parts(json!([part])), finish("STOP")]).expect("an answer").calls;
    let conversation =
        |calls| prompt(vec![caller("Monday?"), agent("", calls), answer("gemini_call_0", "free", false)]);
    let with = body(&gemini("gemini-3.8-flash", &[]), &conversation(made));
    assert_eq!(with["contents"][1]["parts"][0], part, "as it came, without the id made up here");
    assert!(with["contents"][2]["parts"][0]["functionResponse"].get("id").is_none());
    let foreign = conversation(vec![call("toolu_1", json!({})), call("toolu_2", json!({}))]);
    let with = body(&gemini("gemini-3.8-flash", &[]), &foreign);
    assert_eq!(with["contents"][1]["parts"][0]["thoughtSignature"], FOREIGN);
    assert!(with["contents"][1]["parts"][1].get("thoughtSignature").is_none(), "the first of a step is enough");
    let before = body(&gemini("gemini-2.5-flash", &[]), &foreign);
    assert!(before["contents"][1]["parts"][0].get("thoughtSignature").is_none());
}

#[test]
fn a_model_thinks_as_little_as_it_can_unless_told_otherwise() {
    let thinking = |model: &str, options: &[(&str, Value)]| {
        body(&gemini(model, options), &conversation())["generationConfig"]["thinkingConfig"].clone()
    };
    assert_eq!(thinking("gemini-3.8-flash", &[]), json!({"thinkingLevel": "minimal"}));
    assert_eq!(thinking("gemini-2.5-flash", &[]), json!({"thinkingBudget": 0}));
    assert_eq!(thinking("gemini-3.1-pro-preview", &[]), Value::Null);
    assert_eq!(thinking("gemini-3.8-flash", &[("thinking_level", json!("low"))]), json!({"thinkingLevel": "low"}));
    let both = settings(&[("thinking_level", json!("low")), ("thinking_budget", json!(1))]);
    assert!(Gemini::new(&both).is_err());
}

#[test]
fn text_is_handed_on_thoughts_are_not_and_the_usage_is_counted() {
    let told = told(&[
        parts(json!([{"text": "They say hello.", "thought": true}])),
        parts(json!([{"text": "Hel", "of_tomorrow": 1}, {"text": "lo."}])),
        json!({"modelVersion": "x"}),
        finish("STOP"),
    ]);
    let usage = Usage { input_tokens: 40, cached_tokens: 32, output_tokens: 7 };
    let expected = Told { words: "Hello.".into(), calls: vec![], finish: Some((Finish::Complete, usage)) };
    assert_eq!(told, Ok(expected));
}

#[test]
fn calls_come_whole_with_or_without_an_id() {
    let told = told(&[
        parts(json!([{"functionCall": {"id": "x", "name": "look", "args": {"day": "Monday"}}}, {"functionCall": {"name": "look"}}])),
        finish("STOP"),
    ])
    .expect("an answer");
    assert_eq!(told.calls, [call("x", json!({"day": "Monday"})), call("gemini_call_1", json!({}))]);
    assert_eq!(told.finish.map(|(finish, _)| finish), Some(Finish::ToolCalls));
}

#[test]
fn every_reason_to_finish_has_its_meaning() {
    let of = |reason: &str| told(&[parts(json!([{"text": "a"}])), finish(reason)]).map(|t| t.finish.map(|(f, _)| f));
    assert_eq!(of("STOP"), Ok(Some(Finish::Complete)));
    assert_eq!(of("OTHER"), Ok(Some(Finish::Complete)));
    assert_eq!(of("MAX_TOKENS"), Ok(Some(Finish::Length)));
    for filtered in ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE"] {
        assert_eq!(of(filtered), Ok(Some(Finish::Filtered)), "{filtered}");
    }
    let kind = |reason: &str| of(reason).err().map(|error| (error.kind(), error.is_retryable()));
    assert_eq!(kind("MALFORMED_FUNCTION_CALL"), Some(("failed", true)));
    assert_eq!(kind("UNEXPECTED_TOOL_CALL"), Some(("failed", true)));
    assert_eq!(kind("MISSING_THOUGHT_SIGNATURE"), Some(("protocol", true)));
    let blocked = told(&[json!({"promptFeedback": {"blockReason": "SAFETY"}})]).expect("an end");
    assert_eq!(blocked.finish.map(|(finish, _)| finish), Some(Finish::Filtered));
}

#[test]
fn a_refused_request_is_told_by_its_details() {
    let of = |status: u16, error: Value| {
        let body = json!({"error": error}).to_string();
        gemini("m", &[]).refused(Refusal { status, body, retry_after: None })
    };
    let key = json!({"code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]});
    assert_eq!(of(400, key).kind(), "authentication");
    let wait = json!({"status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "1.5s"}]});
    let limited = ProviderError::RateLimited {
        provider: "vendor".into(),
        retry_after: Some(std::time::Duration::from_millis(1500)),
    };
    assert_eq!(of(429, wait), limited);
    let daily = json!({"details": [{"violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}]}]});
    assert_eq!(of(429, daily).kind(), "quota");
    assert_eq!(of(503, json!({"status": "UNAVAILABLE"})).kind(), "transient");
    assert_eq!(of(404, json!({"status": "NOT_FOUND"})).kind(), "bad_request");
}

#[test]
fn an_error_within_the_stream_or_no_end_of_it_is_an_error() {
    assert_eq!(
        kind(&[parts(json!([{"text": "a"}])), json!({"error": {"code": 503, "status": "UNAVAILABLE"}})]),
        "transient"
    );
    assert_eq!(kind(&[parts(json!([{"text": "a"}]))]), "transient");
    assert_eq!(kind(&[Value::Null]), "protocol");
    assert_eq!(kind(&[json!({"candidates": 7}), finish("STOP")]), "none");
}
