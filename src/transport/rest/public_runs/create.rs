//! The body that creates a run: one table of members for the parser and for `/openapi.json`.

use std::borrow::Cow;

use serde_json::Value;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::{Limits, NewEvent, RunId};
use crate::service::runs;
use crate::transport::rest::fields::Fields;
use crate::transport::rest::http_error::HttpError;

use super::request::or_empty;

/// JSON type of a member of a create request. Null is allowed for each type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Any,
    Object,
    Array,
    Boolean,
    String,
    /// A string of a limited length, since runs will be searched by it.
    Name,
}

/// Maximum length of a [`Kind::Name`].
const MAX_NAME_CHARS: usize = 200;

/// Members of a create request besides `id`, in the order of the payload of `run.created`: name, type and description.
const CREATE_MEMBERS: [(&str, Kind, &str); 9] = [
    ("input", Kind::Any, "Input of the run, any JSON."),
    ("metadata", Kind::Object, "The client's own data about the run."),
    ("attachment_refs", Kind::Array, "References to attachments of the input."),
    ("sensitivity_tags", Kind::Array, "Tags for the sensitivity of the input."),
    ("streaming", Kind::Boolean, "Whether the client asks for streaming."),
    ("routing_hint", Kind::String, "The client's preferred routing."),
    ("routing", Kind::Object, "Routing of the run."),
    ("workspace_id", Kind::Name, "Id of the client's workspace."),
    ("subject_id", Kind::Name, "Id of the subject of the run."),
];

impl Kind {
    /// Whether a valid JSON text has this type, mostly by the first character.
    fn is_of(self, raw: &str) -> bool {
        let first = raw.bytes().next().unwrap_or_default();
        raw == "null"
            || match self {
                Self::Any => true,
                Self::Object => first == b'{',
                Self::Array => first == b'[',
                Self::Boolean => matches!(first, b't' | b'f'),
                Self::String => first == b'"',
                Self::Name => {
                    serde_json::from_str::<String>(raw).is_ok_and(|name| name.chars().count() <= MAX_NAME_CHARS)
                }
            }
    }

    fn problem(self) -> String {
        match self {
            Self::Any => "must be JSON".to_owned(),
            Self::Object => "must be an object".to_owned(),
            Self::Array => "must be an array".to_owned(),
            Self::Boolean => "must be true or false".to_owned(),
            Self::String => "must be a string".to_owned(),
            Self::Name => format!("must be a string of at most {MAX_NAME_CHARS} characters"),
        }
    }

    fn schema(self, description: &str) -> Schema {
        let or_null = |kind: Type| SchemaType::from_iter([kind, Type::Null]);
        let object = ObjectBuilder::new().description(Some(description));
        match self {
            Self::Any => object.schema_type(SchemaType::AnyValue).into(),
            Self::Object => {
                let object = object.schema_type(or_null(Type::Object));
                object.additional_properties(Some(AdditionalProperties::FreeForm(true))).into()
            }
            Self::Array => ArrayBuilder::new().schema_type(or_null(Type::Array)).description(Some(description)).into(),
            Self::Boolean => object.schema_type(or_null(Type::Boolean)).into(),
            Self::String => object.schema_type(or_null(Type::String)).into(),
            Self::Name => object.schema_type(or_null(Type::String)).max_length(Some(MAX_NAME_CHARS)).into(),
        }
    }
}

/// A run to create.
#[derive(Debug)]
pub struct PublicCreateRun<'a> {
    /// Id of the run; `None`: the server generates an id.
    pub id: Option<RunId>,
    /// Members of [`CREATE_MEMBERS`] as sent, null included, in the order of the table.
    members: Vec<(&'static str, &'a str)>,
}

impl<'a> PublicCreateRun<'a> {
    /// Parses the body of a create request. No body and null read as an empty object.
    pub fn parse(text: &'a str) -> Result<Self, HttpError> {
        let mut fields = Fields::parse(or_empty(text), "")?;
        let id =
            fields.string("id")?.map(|id| RunId::parse(&id)).transpose().map_err(|error| error.with_field("id"))?;
        let mut members = Vec::with_capacity(CREATE_MEMBERS.len());
        for (name, kind, _) in CREATE_MEMBERS {
            if let Some(raw) = fields.raw(name) {
                if !kind.is_of(raw) {
                    return Err(HttpError::field(name, kind.problem()));
                }
                members.push((name, raw));
            }
        }
        fields.finish()?;
        Ok(Self { id, members })
    }

    /// `run.created` with the members as sent.
    pub fn first_event(&self, request_id: &str, limits: &Limits) -> Result<NewEvent, HttpError> {
        let mut payload = format!(r#"{{"request_id":{}"#, Value::from(request_id));
        for (name, raw) in &self.members {
            payload.push_str(&format!(r#","{name}":{raw}"#));
        }
        payload.push('}');
        Ok(runs::created_event(payload, limits).map_err(|error| error.under("body"))?)
    }
}

impl ToSchema for PublicCreateRun<'_> {
    fn name() -> Cow<'static, str> {
        "PublicCreateRun".into()
    }
}

impl PartialSchema for PublicCreateRun<'_> {
    fn schema() -> RefOr<Schema> {
        let id = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("Id of the run; absent: the server generates an id."))
            .min_length(Some(1))
            .max_length(Some(200))
            .pattern(Some(r"^[^\u0000-\u001f\u007f-\u009f]+$"));
        let run = ObjectBuilder::new()
            .description(Some("A run to create. Null counts as sent."))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .property("id", id);
        let members = CREATE_MEMBERS.into_iter();
        members.fold(run, |run, (name, kind, description)| run.property(name, kind.schema(description))).into()
    }
}
