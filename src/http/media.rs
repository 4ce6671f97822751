//! Files: customers' to look at, and our own to send.
//!
//! **Invariant:** a file is shown to viewers of its tenant only, as a download that a browser never runs. An upload's
//! reference cannot be guessed or made up, and names the tenant that it belongs to.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::web;
use actix_web::{HttpRequest, HttpResponse};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use events::blobs::{BlobError, BlobRef, Blobs, get_opened, put_sealed};
use events::codec::Codec;
use events::conversation::content::AttachmentLocation;
use events::ids::{ConversationId, MessageId, TenantId};
use events::seal::KeySubject;
use events::viewer::{Role, Viewer};
use graphql::{Upload, UploadError, Uploads};
use projections::views::Views;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use subtle::ConstantTimeEq;

use super::auth::{Tokens, bearer};
use super::body::read_body;
use super::problem::Problem;

/// Largest file that may be uploaded, in bytes. **Source:** Telegram Bot API, "Sending files": 50 MB by upload.
pub const MAX_UPLOAD_BYTES: usize = 50 * 1024 * 1024;
/// Bytes of the digest that proves a reference.
const PROOF_BYTES: usize = 16;
/// What a caller is told when the store is away.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Reads and stores files.
#[derive(Clone)]
pub struct Files {
    /// The sealed bytes.
    pub blobs: Arc<dyn Blobs>,
    /// Seals and opens them, and proves references.
    pub codec: Codec,
    /// Knows which file belongs to which message.
    pub views: Views,
    /// Knows who calls.
    pub tokens: Arc<Tokens>,
}

#[derive(Serialize, Deserialize)]
struct Reference {
    tenant: TenantId,
    blob: BlobRef,
    name: Option<String>,
}

impl Files {
    fn viewer(&self, request: &HttpRequest) -> Result<Viewer, Problem> {
        let token = bearer(request).ok_or_else(|| Problem::unauthenticated("send a token as Authorization: Bearer"))?;
        let found =
            self.tokens.viewer(token).ok_or_else(|| Problem::unauthenticated("the token is unknown or expired"))?;
        Ok(found.0)
    }

    fn reference(&self, upload: &Reference) -> Option<String> {
        let body = serde_json::to_vec(upload).ok()?;
        let proof = self.codec.hasher().digest("upload", &[&body]);
        Some(format!("{}.{}", URL_SAFE_NO_PAD.encode(body), URL_SAFE_NO_PAD.encode(proof)))
    }

    fn parse(&self, reference: &str) -> Option<Reference> {
        let (body, proof) = reference.split_once('.')?;
        let (body, proof) = (URL_SAFE_NO_PAD.decode(body).ok()?, URL_SAFE_NO_PAD.decode(proof).ok()?);
        let expected = self.codec.hasher().digest("upload", &[&body]);
        let proven = proof.len() == PROOF_BYTES && bool::from(expected.ct_eq(&proof));
        proven.then(|| serde_json::from_slice(&body).ok())?
    }
}

#[async_trait]
impl Uploads for Files {
    async fn find(&self, tenant: &TenantId, reference: &str) -> Result<Upload, UploadError> {
        let upload = self.parse(reference).filter(|upload| upload.tenant == *tenant).ok_or(UploadError::NotFound)?;
        Ok(Upload { blob: upload.blob, file_name: upload.name })
    }
}

/// What an upload is asked with.
#[derive(Deserialize)]
pub struct UploadQuery {
    /// The name of the file.
    name: Option<String>,
}

/// `POST /uploads?name=…`: stores a file to be sent and answers with its reference for `sendMessage`.
///
/// # Errors
/// 400 for an empty file, 401, 403 for agents, 413, 503.
pub async fn upload(
    request: HttpRequest,
    query: web::Query<UploadQuery>,
    payload: web::Payload,
    files: web::Data<Files>,
) -> Result<HttpResponse, Problem> {
    let viewer = files.viewer(&request)?;
    if !viewer.may_act_as(Role::Operator) {
        return Err(Problem::forbidden("agents send text only"));
    }
    // Only now, so that strangers cannot make the server hold a file.
    let body = read_body(&request, payload, MAX_UPLOAD_BYTES).await?;
    if body.is_empty() {
        return Err(Problem::bad_request("the file is empty"));
    }
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.map(str::to_owned);
    let sealer = files.codec.sealer();
    let stored = put_sealed(&*files.blobs, sealer, &viewer.tenant, KeySubject::Own, &body, media_type).await;
    let blob = stored.map_err(|error| unavailable(&error))?;
    let upload = Reference { tenant: viewer.tenant, blob, name: query.into_inner().name };
    let reference = files.reference(&upload).ok_or_else(Problem::internal)?;
    let answer = serde_json::json!({ "reference": reference, "sizeBytes": upload.blob.size_bytes });
    Ok(HttpResponse::Created().json(answer))
}

/// `GET /media/{conversation}/{message}/{index}`: a file of a message.
///
/// # Errors
/// 401, 404, 410 after an erasure, 503.
pub async fn download(
    request: HttpRequest,
    path: web::Path<(String, String, u32)>,
    files: web::Data<Files>,
) -> Result<HttpResponse, Problem> {
    let viewer = files.viewer(&request)?;
    let (conversation, message, index) = path.into_inner();
    let none = || Problem::not_found("there is no such file");
    let conversation: ConversationId = conversation.parse().map_err(|_| none())?;
    let message: MessageId = message.parse().map_err(|_| none())?;
    let found = files.views.message(&viewer, conversation, message).await;
    let found = found.map_err(|error| Problem::unavailable(error.to_string(), RETRY_AFTER))?.ok_or_else(none)?;
    let sent = found.content.as_ref().and_then(|content| content.attachments.get(usize::try_from(index).ok()?));
    let stored = found.attachments.iter().find(|attachment| attachment.index == index);
    let stored = stored.and_then(|attachment| attachment.blob.clone());
    let ours = sent.and_then(|attachment| match &attachment.location {
        AttachmentLocation::Blob { blob } => Some(blob.clone()),
        AttachmentLocation::Provider { .. } | AttachmentLocation::RawDelivery { .. } => None,
    });
    let blob = stored.or(ours).ok_or_else(none)?;
    let name = sent.and_then(|attachment| attachment.file_name.clone());
    let opened = get_opened(&*files.blobs, files.codec.sealer(), &viewer.tenant, &blob).await;
    let clear = opened.map_err(|error| match error {
        BlobError::Erased(_) => Problem::erased(),
        BlobError::NotFound(_) => none(),
        BlobError::Unavailable(_) | BlobError::Corrupt(_) | BlobError::Seal(_) => unavailable(&error),
    })?;
    Ok(HttpResponse::Ok()
        // A customer's file is never run by the operator's browser, whatever it claims to be.
        .insert_header((header::CONTENT_TYPE, "application/octet-stream"))
        .insert_header((header::CONTENT_DISPOSITION, disposition(name.as_deref())))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .body(clear))
}

fn disposition(name: Option<&str>) -> header::ContentDisposition {
    use header::{Charset, ContentDisposition, DispositionParam, DispositionType, ExtendedValue};
    let name = name.unwrap_or("file").replace(['/', '\\', '\0'], "_");
    let value =
        ExtendedValue { charset: Charset::Ext("UTF-8".to_owned()), language_tag: None, value: name.into_bytes() };
    ContentDisposition {
        disposition: DispositionType::Attachment,
        parameters: vec![DispositionParam::FilenameExt(value)],
    }
}

fn unavailable(error: &BlobError) -> Problem {
    tracing::error!(%error, "a file could not be stored or read");
    Problem::unavailable("files cannot be stored or read now", RETRY_AFTER)
}
