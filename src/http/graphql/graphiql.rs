//! `GraphiQL`, from files inside the binary.
//!
//! The page loads nothing from anywhere else, so it works offline. Whoever opens it enters a token in the editor for
//! headers; the page itself is public and holds nothing.
//!
//! **Invariant:** the page runs only the scripts listed in `src/http/graphiql/SOURCES.md`: its content security policy
//! allows no inline script, no `eval` and no other host.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use rust_embed::RustEmbed;

/// The vendored files and our page.
#[derive(RustEmbed)]
#[folder = "src/http/graphiql/"]
struct Files;

/// What the page may do. Fonts are inside the style sheet as `data:` URLs.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src data:; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Puts `/graphiql` into an actix application.
pub fn routes(services: &mut web::ServiceConfig) {
    services
        .route("/graphiql", web::get().to(async || file("index.html")))
        .route("/graphiql/{file}", web::get().to(async |name: web::Path<String>| file(&name)));
}

fn file(name: &str) -> HttpResponse {
    let Some(file) = Files::get(name) else { return HttpResponse::NotFound().finish() };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type(name)))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(file.data)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
