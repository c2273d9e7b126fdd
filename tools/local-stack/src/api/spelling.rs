//! Spells names with the letters a to z, as the API does in its e-mail addresses.

/// A name in small ASCII letters; what has no counterpart is left out.
pub(super) fn to_ascii(name: &str) -> String {
    let mut ascii = String::with_capacity(name.len());
    for letter in name.chars().flat_map(char::to_lowercase) {
        if letter.is_ascii_lowercase() {
            ascii.push(letter);
        } else {
            ascii.push_str(counterpart(letter));
        }
    }
    ascii
}

fn counterpart(letter: char) -> &'static str {
    match letter {
        // Latin
        'á' | 'à' | 'â' | 'ã' | 'å' | 'ā' => "a",
        'ä' | 'æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'đ' => "d",
        'é' | 'è' | 'ê' | 'ë' | 'ē' => "e",
        'ğ' => "g",
        'í' | 'ì' | 'î' | 'ï' | 'ī' | 'ı' => "i",
        'ñ' => "n",
        'ó' | 'ò' | 'ô' | 'õ' | 'ø' | 'ō' => "o",
        'ö' => "oe",
        'ş' | 'š' => "s",
        'ß' => "ss",
        'ú' | 'ù' | 'û' | 'ū' => "u",
        'ü' => "ue",
        'ž' => "z",
        // Cyrillic
        'а' => "a",
        'б' => "b",
        'в' => "v",
        'г' => "h",
        'ґ' => "g",
        'д' => "d",
        'е' => "e",
        'є' => "ie",
        'ж' => "zh",
        'з' => "z",
        'и' => "y",
        'і' | 'ї' | 'й' => "i",
        'к' => "k",
        'л' => "l",
        'м' => "m",
        'н' => "n",
        'о' => "o",
        'п' => "p",
        'р' => "r",
        'с' => "s",
        'т' => "t",
        'у' => "u",
        'ф' => "f",
        'х' => "kh",
        'ц' => "ts",
        'ч' => "ch",
        'ш' => "sh",
        'щ' => "shch",
        'ю' => "iu",
        'я' => "ia",
        // Persian
        'ا' | 'آ' | 'ع' => "a",
        'ب' => "b",
        'پ' => "p",
        'ت' | 'ط' => "t",
        'ج' => "j",
        'ح' | 'ه' => "h",
        'خ' => "kh",
        'د' => "d",
        'ر' => "r",
        'ز' | 'ذ' | 'ض' | 'ظ' => "z",
        'ژ' => "zh",
        'س' | 'ص' | 'ث' => "s",
        'ش' => "sh",
        'غ' | 'ق' => "gh",
        'ف' => "f",
        'ک' => "k",
        'گ' => "g",
        'ل' => "l",
        'م' => "m",
        'ن' => "n",
        'و' => "v",
        'ی' => "y",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::vocabulary::NATIONS;

    #[test]
    fn names_are_spelled() {
        assert_eq!(to_ascii("O'Brien"), "obrien");
        assert_eq!(to_ascii("Weiß"), "weiss");
        assert_eq!(to_ascii("İrem"), "irem");
        assert_eq!(to_ascii("Щек"), "shchek");
        assert_eq!(to_ascii("نیک\u{200c}پور"), "nykpvr");
    }

    #[test]
    fn no_name_of_the_vocabulary_is_left_empty() {
        for nation in NATIONS {
            for name in [nation.women, nation.men, nation.last_names].concat() {
                assert!(!to_ascii(name).is_empty(), "{name}");
            }
        }
    }
}
