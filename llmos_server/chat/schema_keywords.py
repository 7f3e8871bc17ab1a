"""What the keywords of JSON Schema (2020-12, and older spellings) hold, and which of them a grammar can follow."""

from __future__ import annotations

MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Hold schemas by name."""
LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
"""Hold lists of schemas."""
SCHEMAS = frozenset(
    {
        "items",
        "additionalProperties",
        "not",
        "if",
        "then",
        "else",
        "contains",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
"""Hold one schema."""
VALUES = frozenset(
    {
        "type",
        "enum",
        "const",
        "$ref",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minContains",
        "maxContains",
        "required",
        "minProperties",
        "maxProperties",
        "dependentRequired",
    }
)
"""Constrain by what they hold. Every keyword that is in none of these sets is an annotation and changes nothing."""
UNHELD = frozenset(
    {
        "not",
        "if",
        "then",
        "else",
        "contains",
        "minContains",
        "maxContains",
        "propertyNames",
        "uniqueItems",
        "dependentRequired",
        "dependentSchemas",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
"""Constraints that no grammar follows."""
EFFECTLESS = {"uniqueItems": False, "unevaluatedItems": True, "unevaluatedProperties": True}
"""Of those, values that constrain nothing."""
IN_PLACE = ("anyOf", "oneOf", "allOf", "not", "if", "then", "else", "dependentSchemas")
"""Hold schemas for the same value again."""
DYNAMIC = frozenset({"$dynamicRef", "$recursiveRef"})
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"})
"""What a grammar knows the form of."""
CHECKED_FORMATS = frozenset(
    {
        "idn-email",
        "idn-hostname",
        "uri-reference",
        "iri",
        "iri-reference",
        "uri-template",
        "json-pointer",
        "relative-json-pointer",
        "regex",
    }
)
"""What only a finished answer is checked for. Every other format ("int32", "password") is an annotation."""
LOWER_BOUNDS = frozenset({"minimum", "exclusiveMinimum"})
UPPER_BOUNDS = frozenset({"maximum", "exclusiveMaximum"})
MAX_EXACT = 2**53 - 1
"""Up to here a grammar counts exactly."""
