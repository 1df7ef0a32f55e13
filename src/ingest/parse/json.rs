//! A cursor over the parser's tape: values are borrowed, nothing is built.

use simd_json::{Node, StaticNode};

/// One value: the nodes from its first one on. What stands behind it belongs to its siblings.
#[derive(Clone, Copy)]
pub(super) struct Json<'t, 'b>(&'t [Node<'b>]);

impl<'t, 'b> Json<'t, 'b> {
    /// The value that a tape holds.
    pub(super) fn root(tape: &'t [Node<'b>]) -> Self {
        Self(tape)
    }

    /// The text, if it is one.
    pub(super) fn text(self) -> Option<&'b str> {
        match self.0.first() {
            Some(Node::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers beyond 53 bits are rounded, as JavaScript reads them"
    )]
    pub(super) fn number(self) -> Option<f64> {
        match self.0.first() {
            Some(Node::Static(StaticNode::U64(number))) => Some(*number as f64),
            Some(Node::Static(StaticNode::I64(number))) => Some(*number as f64),
            Some(Node::Static(StaticNode::F64(number))) => Some(*number),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub(super) fn boolean(self) -> Option<bool> {
        match self.0.first() {
            Some(Node::Static(StaticNode::Bool(value))) => Some(*value),
            _ => None,
        }
    }

    /// Itself, unless it is `null`: for optional fields that counts as absent.
    pub(super) fn present(self) -> Option<Self> {
        match self.0.first() {
            None | Some(Node::Static(StaticNode::Null)) => None,
            Some(_) => Some(self),
        }
    }

    /// Names and values in the order they were sent, if it is an object.
    pub(super) fn fields(self) -> Option<impl Iterator<Item = (&'b str, Self)>> {
        let Some(&Node::Object { len, .. }) = self.0.first() else { return None };
        let mut rest = self.0.get(1..).unwrap_or_default();
        Some((0..len).map_while(move |_| {
            let (name, behind) = rest.split_first()?;
            let Node::String(name) = name else { return None };
            rest = behind.get(size(behind)..)?;
            Some((*name, Self(behind)))
        }))
    }

    /// Number of elements and the elements, if it is an array.
    pub(super) fn elements(self) -> Option<(usize, impl Iterator<Item = Self>)> {
        let Some(&Node::Array { len, .. }) = self.0.first() else { return None };
        let mut rest = self.0.get(1..).unwrap_or_default();
        let elements = (0..len).map_while(move |_| {
            let element = rest;
            rest = element.get(size(element)..)?;
            Some(Self(element))
        });
        Some((len, elements))
    }
}

/// How many nodes the first value of `nodes` takes.
fn size(nodes: &[Node<'_>]) -> usize {
    match nodes.first() {
        Some(Node::Object { count, .. } | Node::Array { count, .. }) => count + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_behind_nested_ones() {
        let mut body =
            br#"{"a":[1,[2,{"x":null}],-3.5],"b":{"c":{"d":[]}},"e":"text","f":true,"g":null}"#.to_vec();
        let tape = simd_json::to_tape(&mut body).unwrap();
        let fields: Vec<_> = Json::root(&tape.0).fields().unwrap().collect();
        let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["a", "b", "e", "f", "g"]);
        let (len, elements) = fields[0].1.elements().unwrap();
        let numbers: Vec<_> = elements.map(Json::number).collect();
        assert_eq!((len, numbers), (3, vec![Some(1.0), None, Some(-3.5)]));
        assert_eq!(fields[1].1.fields().unwrap().count(), 1);
        assert_eq!((fields[2].1.text(), fields[3].1.boolean()), (Some("text"), Some(true)));
        assert!(fields[4].1.present().is_none() && fields[3].1.present().is_some());
        assert!(fields[2].1.fields().is_none() && fields[2].1.elements().is_none());
    }
}
