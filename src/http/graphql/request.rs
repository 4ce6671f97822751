//! From an HTTP request to a GraphQL request.
//!
//! **Invariant:** a body is never held beyond its limit, a GET changes nothing, and a request that a foreign page can
//! make a browser send without asking first (a "simple" request of CORS) is refused.

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use async_graphql::parser::types::{ExecutableDocument, OperationType};
use async_graphql::{Request, Value, Variables};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Map;

use super::GraphqlEndpoint;
use super::problem::Problem;

/// Headers that prove that a GET was preflighted or does not come from a browser: a page cannot set them across
/// origins without the server's consent. The first is the one that Apollo's clients send.
const PREFLIGHT_HEADERS: [&str; 2] = ["apollo-require-preflight", "x-letopis-csrf"];

/// How deep brackets may nest in a document. The parser descends once per level, on the stack, before any limit of
/// the schema is looked at. No honest query comes near; the schema's own depth limit is lower.
const MAX_NESTING: usize = 200;

/// The parameters of a GraphQL request.
///
/// **Source:** GraphQL over HTTP, "Request Parameters"; graphql-transport-ws, "Subscribe".
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parameters {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<Map<String, serde_json::Value>>,
    extensions: Option<Map<String, serde_json::Value>>,
}

impl Parameters {
    /// The request they make, or what is wrong with them.
    pub(super) fn into_request(self) -> Result<Request, &'static str> {
        let extensions = self.extensions.unwrap_or_default();
        let query = match self.query {
            Some(query) => query,
            None if extensions.contains_key("persistedQuery") => String::new(),
            None => return Err("the parameter query is missing"),
        };
        if nesting(&query) > MAX_NESTING {
            return Err("the document nests too deeply");
        }
        let mut request = Request::new(query);
        request.operation_name = self.operation_name.filter(|name| !name.is_empty());
        request.variables = Variables::from_json(self.variables.unwrap_or_default().into());
        for (name, value) in extensions {
            let value = Value::from_json(value).map_err(|_| "the parameter extensions holds no GraphQL value")?;
            request.extensions.insert(name, value);
        }
        Ok(request)
    }
}

/// The deepest nesting of brackets of a document, outside its strings and comments.
fn nesting(document: &str) -> usize {
    let (mut deepest, mut depth) = (0_usize, 0_usize);
    let mut rest = document.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match byte {
            b'{' | b'[' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
                tail
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                tail
            }
            b'#' => tail.iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(&[], |end| &tail[end..]),
            b'"' => after_string(tail),
            _ => tail,
        };
    }
    deepest
}

/// What follows a string or block string whose first quote was just read. A string that does not end ends the
/// document: the parser refuses it without descending.
fn after_string(tail: &[u8]) -> &[u8] {
    let (mut rest, end, escape): (_, &[u8], &[u8]) = match tail.strip_prefix(b"\"\"") {
        Some(block) => (block, b"\"\"\"", b"\\\"\"\""),
        None => (tail, b"\"", b"\\"),
    };
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(escape) {
            rest = if escape.len() == 1 { after.get(1..).unwrap_or_default() } else { after };
        } else if let Some(after) = rest.strip_prefix(end) {
            return after;
        } else if end.len() == 1 && matches!(rest[0], b'\n' | b'\r') {
            return rest;
        } else {
            rest = &rest[1..];
        }
    }
    rest
}

/// Refuses a POST whose content type a foreign page may send without a preflight, or that is packed.
pub(super) fn refuse_forgeable_post(http: &HttpRequest) -> Result<(), Problem> {
    const ONLY: &str = "send the request as application/json in UTF-8";
    let mime: mime::Mime = http
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Problem::unsupported(ONLY))?;
    let utf8 = mime.get_param(mime::CHARSET).is_none_or(|charset| charset == mime::UTF_8);
    if mime.essence_str() != mime::APPLICATION_JSON.essence_str() || !utf8 {
        return Err(Problem::unsupported(ONLY));
    }
    let packed = http.headers().get_all(header::CONTENT_ENCODING).any(|coding| coding != "identity");
    if packed { Err(Problem::unsupported("send the request without a content coding")) } else { Ok(()) }
}

/// Refuses a GET that a foreign page may have made a browser send: a link, an image, a form.
pub(super) fn refuse_forgeable_get(http: &HttpRequest) -> Result<(), Problem> {
    let proven = PREFLIGHT_HEADERS.iter().any(|name| http.headers().get(*name).is_some_and(|value| !value.is_empty()));
    if proven {
        return Ok(());
    }
    Err(Problem::malformed(format!("send one of these headers with any value: {}", PREFLIGHT_HEADERS.join(", "))))
}

/// Reads a body of at most `max_bytes`.
pub(super) async fn read_body(
    http: &HttpRequest,
    mut body: web::Payload,
    max_bytes: usize,
) -> Result<web::BytesMut, Problem> {
    let announced = http.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > max_bytes) {
        return Err(Problem::too_large(max_bytes));
    }
    let mut bytes = web::BytesMut::with_capacity(announced.unwrap_or(0));
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Problem::malformed("the request body broke off"))?;
        if bytes.len() + chunk.len() > max_bytes {
            return Err(Problem::too_large(max_bytes));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The request in a JSON body. Batches are refused: every limit counts one operation.
pub(super) fn of_json(body: &[u8]) -> Result<Request, Problem> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::malformed("batches are not taken; send one operation per request"));
    }
    let parameters: Parameters = serde_json::from_slice(body)
        .map_err(|_| Problem::malformed("the body is not a JSON object of a GraphQL request"))?;
    parameters.into_request().map_err(Problem::malformed)
}

/// The request in a query string, `variables` and `extensions` being JSON texts.
pub(super) fn of_query_string(query_string: &str) -> Result<Request, Problem> {
    let mut parameters = Parameters::default();
    for (name, value) in url::form_urlencoded::parse(query_string.as_bytes()) {
        let object = |value: &str| {
            let object: Option<Map<_, _>> = serde_json::from_str(value)
                .map_err(|_| Problem::malformed("variables and extensions must be JSON objects"))?;
            Ok::<_, Problem>(object)
        };
        match &*name {
            "query" => parameters.query = Some(value.into_owned()),
            "operationName" => parameters.operation_name = Some(value.into_owned()),
            "variables" => parameters.variables = object(&value)?,
            "extensions" => parameters.extensions = object(&value)?,
            _ => {}
        }
    }
    parameters.into_request().map_err(Problem::malformed)
}

/// Why a request may not be executed by a safe method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SafeMethodError {
    /// The operation changes something or subscribes.
    NotAQuery,
    /// It is named by its hash only, and what that means is not known here.
    NotPersisted,
}

/// Refuses a request that may do anything but read. A document that does not parse passes: executing it tells why.
pub(super) async fn refuse_side_effects(
    endpoint: &dyn GraphqlEndpoint,
    request: &mut Request,
) -> Result<(), SafeMethodError> {
    if request.query.is_empty() {
        let text = match persisted_hash(request) {
            Some(hash) => endpoint.persisted(&hash).await,
            None => None,
        };
        // What is looked at here is what is executed.
        request.query = text.ok_or(SafeMethodError::NotPersisted)?;
    }
    let name = request.operation_name.clone();
    let only_queries = request.parsed_query().map_or(true, |document| is_query(document, name.as_deref()));
    if only_queries { Ok(()) } else { Err(SafeMethodError::NotAQuery) }
}

fn persisted_hash(request: &Request) -> Option<String> {
    let Value::Object(persisted) = request.extensions.get("persistedQuery")? else { return None };
    let Value::String(hash) = persisted.get("sha256Hash")? else { return None };
    Some(hash.clone())
}

/// True when the operation of this name, or every one when there is no name, is a query.
fn is_query(document: &ExecutableDocument, name: Option<&str>) -> bool {
    let selected =
        |own: Option<&async_graphql::Name>| name.is_none_or(|name| own.is_none_or(|own| own.as_str() == name));
    document
        .operations
        .iter()
        .filter(|(own, _)| selected(*own))
        .all(|(_, operation)| operation.node.ty == OperationType::Query)
}

#[cfg(test)]
mod tests;
