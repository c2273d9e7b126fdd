//! Nations of northern Europe.

use super::{Nation, Postcode};

pub(super) static DK: Nation = Nation {
    code: "DK",
    country: "Denmark",
    women: &["Søs", "Freja", "Kirstine", "Åse", "Ida", "Laura", "Birgitte", "Mette"],
    men: &["Jørgen", "Mikkel", "Søren", "Aksel", "Bjarke", "Lærke-Emil", "Oliver", "Rasmus"],
    last_names: &["Kjær", "Østergaard", "Nørgaard", "Madsen", "Højlund", "Bech", "Aagaard"],
    streets: &["Nørre Allé", "Strøget", "Æblehaven", "Vesterbrogade", "Skovvej"],
    cities: &["Ærøskøbing", "Aarhus", "Rønne", "Køge", "Nykøbing F", "Skagen"],
    states: &["Sjælland", "Hovedstaden", "Midtjylland", "Syddanmark"],
    postcode: Postcode::Integer { min: 1050, max: 9990 },
    phone: "########",
    cell: "########",
    id: Some(("CPR", "######-####")),
};

pub(super) static FI: Nation = Nation {
    code: "FI",
    country: "Finland",
    women: &["Päivi", "Aino", "Sirkka-Liisa", "Kyllikki", "Emmi", "Tuuli", "Äänis", "Helmi"],
    men: &["Väinö", "Jyrki", "Pekka", "Onni", "Yrjö", "Eetu", "Kalevi", "Åke"],
    last_names: &["Mäkelä", "Hyvönen", "Sjöberg", "Niemi", "Pöysti", "Kärkkäinen", "Laine"],
    streets: &["Hämeenkatu", "Mannerheimintie", "Pyynikintie", "Yliopistonkatu", "Ylätie "],
    cities: &["Jyväskylä", "Äänekoski", "Rovaniemi", "Porvoo", "Hämeenlinna", "Inari"],
    states: &["Pirkanmaa", "Päijät-Häme", "Lapland", "Åland", "South Karelia"],
    postcode: Postcode::Integer { min: 10_000, max: 99_999 },
    phone: "0#-###-###",
    cell: "04#-###-##-##",
    id: Some(("HETU", "######-###@")),
};

pub(super) static NO: Nation = Nation {
    code: "NO",
    country: "Norway",
    women: &["Solveig", "Åshild", "Ingrid", "Máret", "Tuva", "Synnøve", "Ragnhild", "Nora"],
    men: &["Øystein", "Håkon", "Ánte", "Sverre", "Bjørnar", "Odd", "Aksel", "Torbjørn"],
    last_names: &["Grønås", "Sætre", "Utsi", "Åsgård", "Lie", "Bakke", "Ødegård", "Haugen"],
    streets: &["Karl Johans gate", "Møllergata", "Sørkedalsveien", "Sjøgata", "Bøkeveien"],
    cities: &["Tromsø", "Kárášjohka", "Ålesund", "Bodø", "Røros", "Å"],
    states: &["Troms - Romsa", "Sogn og Fjordane", "Østfold", "Nordland", "Hedmark"],
    // Text, and with a leading zero now and then: the number 0301 would lose it.
    postcode: Postcode::Text(&["####", "0###"]),
    phone: "########",
    cell: "########",
    id: Some(("FN", "###########")),
};
