//! The success envelope: `success: true` and the payload beside it. The error envelope is [`Failure::body`]; nothing
//! else writes either. Source: API reference, identity 1.2.

use http::{Response, StatusCode, header};
use serde::Serialize;
use utoipa::openapi::{ObjectBuilder, Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{Failure, JSON_CONTENT_TYPE};

/// A payload under the key `data`: one object. A list has no name that a schema could be found under, so its answer is
/// a type of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Data<T> {
    /// The payload.
    pub data: T,
}

/// By hand: the derived one gives all payloads the same name.
impl<T: ToSchema> ToSchema for Data<T> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("{}Data", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
        schemas.push((T::name().into_owned(), T::schema()));
    }
}

impl<T: ToSchema> PartialSchema for Data<T> {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new().property("data", Ref::from_schema_name(T::name()));
        object.required("data").into()
    }
}

/// A payload that is nothing but a text for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Message {
    /// The text.
    pub message: &'static str,
}

/// The envelope around a payload, which must be an object.
#[derive(Serialize)]
struct Success<'a, T> {
    success: bool,
    #[serde(flatten)]
    payload: &'a T,
}

/// An answer of `status` with `payload`, an object, in the success envelope.
///
/// # Errors
/// 500 if the payload is no object.
pub fn success<B: From<Vec<u8>>, T: Serialize>(
    status: StatusCode,
    payload: &T,
) -> Result<Response<B>, Failure> {
    bare(status, &Success { success: true, payload })
}

/// An answer of `status` that is `payload` itself, for the few endpoints without an envelope.
///
/// # Errors
/// 500 if the payload cannot be written as JSON.
pub fn bare<B: From<Vec<u8>>, T: Serialize>(status: StatusCode, payload: &T) -> Result<Response<B>, Failure> {
    let body =
        serde_json::to_vec(payload).map_err(|cause| Failure::internal("Internal Server Error", cause))?;
    let mut response = Response::new(B::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON_CONTENT_TYPE);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_stands_beside_success() {
        let answer = success::<Vec<u8>, _>(StatusCode::CREATED, &Data { data: [1, 2] }).unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.headers()["content-type"], "application/json; charset=utf-8");
        assert_eq!(answer.into_body(), br#"{"success":true,"data":[1,2]}"#);
        let answer = bare::<Vec<u8>, _>(StatusCode::OK, &Message { message: "API is running" }).unwrap();
        assert_eq!(answer.into_body(), br#"{"message":"API is running"}"#);
    }

    #[test]
    fn a_payload_that_is_no_object_is_a_failure_and_not_a_panic() {
        assert_eq!(success::<Vec<u8>, _>(StatusCode::OK, &7).unwrap_err().kind, crate::http::Kind::Internal);
    }
}
