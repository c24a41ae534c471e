//! Writes down of every message which fields it has and what they take as values: what `src/codec.rs` weighs requests by.

use std::{collections::HashMap, error::Error, fmt::Write as _};

use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

const PACKAGE: &str = ".shoal.v1.";

/// The source of `SHAPES` and `request_shape`.
pub(crate) fn of(descriptors: &FileDescriptorSet) -> Result<String, Box<dyn Error>> {
    let mut messages = Vec::new();
    for file in &descriptors.file {
        for message in &file.message_type {
            messages.push((format!("{PACKAGE}{}", message.name()), message));
            for nested in &message.nested_type {
                let is_entry = nested.options.as_ref().is_some_and(|options| options.map_entry());
                if !is_entry || !nested.nested_type.is_empty() {
                    return Err(format!("{} is nested: give it a name of its own", nested.name()).into());
                }
                messages.push((format!("{PACKAGE}{}.{}", message.name(), nested.name()), nested));
            }
        }
    }
    let numbers: HashMap<&str, usize> =
        messages.iter().enumerate().map(|(number, (name, _))| (name.as_str(), number)).collect();
    let mut text = String::from("static SHAPES: &[Shape] = &[\n");
    for (name, message) in &messages {
        let size = if name.matches('.').count() > PACKAGE.matches('.').count() {
            // A map has more places than entries.
            let sizes: Result<Vec<String>, _> = message.field.iter().map(size_of).collect();
            format!("2 * ({})", sizes?.join(" + "))
        } else {
            format!("std::mem::size_of::<crate::v1::{}>()", message.name())
        };
        writeln!(text, "    Shape {{ size: {size}, fields: &[{}] }},", fields(message, &numbers)?)?;
    }
    text.push_str("];\n\nfn request_shape(name: &str) -> Option<usize> {\n    match name {\n");
    let mut requests: Vec<&str> = Vec::new();
    for service in descriptors.file.iter().flat_map(|file| &file.service) {
        requests.extend(service.method.iter().map(|method| method.input_type()));
    }
    requests.sort_unstable();
    requests.dedup();
    for request in requests {
        let name = request.strip_prefix(PACKAGE).ok_or("a request is of another package")?;
        let number = numbers.get(request).ok_or("a request has no message")?;
        writeln!(text, "        {name:?} => Some({number}),")?;
    }
    text.push_str("        _ => None,\n    }\n}\n");
    Ok(text)
}

fn fields(message: &DescriptorProto, numbers: &HashMap<&str, usize>) -> Result<String, Box<dyn Error>> {
    let mut fields: Vec<&FieldDescriptorProto> = message.field.iter().collect();
    fields.sort_by_key(|field| field.number());
    let mut text = String::new();
    for field in fields {
        let kind = match field.r#type() {
            Type::Message => {
                let number =
                    numbers.get(field.type_name()).ok_or("a field is of a message of another package")?;
                format!("Message({number})")
            }
            Type::String => "Text".to_owned(),
            Type::Bytes => "Blob".to_owned(),
            Type::Double | Type::Fixed64 | Type::Sfixed64 => "Fixed(8)".to_owned(),
            Type::Float | Type::Fixed32 | Type::Sfixed32 => "Fixed(4)".to_owned(),
            Type::Int64 | Type::Uint64 | Type::Sint64 => "Varint(8)".to_owned(),
            Type::Int32 | Type::Uint32 | Type::Sint32 | Type::Enum => "Varint(4)".to_owned(),
            Type::Bool => "Varint(1)".to_owned(),
            Type::Group => return Err("groups are not read".into()),
        };
        let (number, repeated) = (field.number(), field.label() == Label::Repeated);
        write!(text, "Field {{ number: {number}, kind: Kind::{kind}, repeated: {repeated} }}, ")?;
    }
    Ok(text)
}

/// What a key or a value of a map takes.
fn size_of(field: &FieldDescriptorProto) -> Result<String, Box<dyn Error>> {
    Ok(match field.r#type() {
        Type::String => "std::mem::size_of::<String>()".to_owned(),
        Type::Message => {
            let name =
                field.type_name().strip_prefix(PACKAGE).ok_or("a map's value is of another package")?;
            format!("std::mem::size_of::<crate::v1::{name}>()")
        }
        Type::Bytes | Type::Group => return Err("a map has a value of a type that is not weighed".into()),
        _ => "8".to_owned(),
    })
}
