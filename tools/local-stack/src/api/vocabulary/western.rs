//! Nations of western Europe and of Latin America.

use super::{Nation, Postcode};

pub(super) static BR: Nation = Nation {
    code: "BR",
    country: "Brazil",
    women: &["Conceição", "Letícia", "Inês", "Yasmin", "Luíza", "Fernanda", "Aparecida", "Bia"],
    men: &["João", "Thiago", "Antônio", "Caíque", "Raí", "Vinícius", "Murilo", "Otávio"],
    last_names: &["da Conceição", "Araújo", "Guimarães", "Sant'Anna", "Nunes", "Falcão", "Souza"],
    streets: &["Rua das Flores", "Avenida São João", "Travessa D'Ávila", "Rua  Sete de Setembro"],
    cities: &["Maceió", "Santa Bárbara d'Oeste", "Goiânia", "Belém", "Niterói", "Ilhéus"],
    states: &["Pará", "Ceará", "Espírito Santo", "Rio Grande do Sul", "Goiás", "Acre"],
    postcode: Postcode::Integer { min: 10_000, max: 99_999 },
    phone: "(##) ####-####",
    cell: "(##) 9###-####",
    id: Some(("CPF", "###.###.###-##")),
};

pub(super) static CH: Nation = Nation {
    code: "CH",
    country: "Switzerland",
    women: &["Seraina", "Léa", "Ursina", "Noëlle", "Chiara", "Heidi", "Mélanie", "Vreni"],
    men: &["Reto", "Loïc", "Urs", "Gian-Andri", "Matteo", "Beat", "Jérôme", "Flurin"],
    last_names: &["Müller", "Rochat", "Caduff", "Bernasconi", "Zürcher", "de Weck", "Aeschbacher"],
    streets: &[
        "Bahnhofstrasse",
        "Rue de l'Hôpital",
        "Via San Gottardo",
        "Chemin du Près-d'en-Haut",
    ],
    cities: &["Zürich", "La Chaux-de-Fonds", "Bellinzona", "Chur", "Neuchâtel", "Thun"],
    states: &["Graubünden", "Genève", "Ticino", "Appenzell Ausserrhoden", "Valais", "Uri"],
    postcode: Postcode::Integer { min: 1000, max: 9658 },
    phone: "07# ### ## ##",
    cell: "07# ### ## ##",
    id: Some(("AVS", "756.####.####.##")),
};

pub(super) static DE: Nation = Nation {
    code: "DE",
    country: "Germany",
    women: &["Käthe", "Annemarie", "Jördis", "Lieselotte", "Svenja", "Mia", "Gülay", "Hannelore"],
    men: &["Jürgen", "Björn", "Karl-Heinz", "Sören", "Matthäus", "Emil", "Götz", "Malte"],
    last_names: &["Weiß", "Schröder", "von der Heide", "Kühn", "Groß", "Yılmaz", "Böhm", "Krause"],
    streets: &["Goethestraße", "Am Mühlbach", "Straße des 17. Juni", "Ahornweg", "Große Gasse "],
    cities: &["Würzburg", "Königs Wusterhausen", "Görlitz", "Plön", "Halle (Saale)", "Münster"],
    states: &["Thüringen", "Baden-Württemberg", "Sachsen", "Bremen", "Mecklenburg-Vorpommern"],
    postcode: Postcode::Integer { min: 10_000, max: 99_998 },
    phone: "0###-#######",
    cell: "017#-#######",
    id: Some(("SVNR", "## ###### @ ###")),
};

pub(super) static ES: Nation = Nation {
    code: "ES",
    country: "Spain",
    women: &["Begoña", "Rocío", "Núria", "Aitana", "Pilar", "Íñiga", "Lucía", "Montserrat"],
    men: &["Íñigo", "Álvaro", "Jordi", "Ramón", "Xoán", "Joaquín", "Unai", "Andrés"],
    last_names: &["Muñoz", "Ibáñez", "Etxeberria", "Puig", "Núñez", "de la Peña", "Castaño"],
    streets: &["Calle de Alcalá", "Passeig de Gràcia", "Calle \"El Olmo\"", "Rúa do Franco"],
    cities: &["A Coruña", "L'Hospitalet de Llobregat", "Cádiz", "Donostia", "León", "Maó"],
    states: &["Cataluña", "País Vasco", "Andalucía", "Castilla-La Mancha", "La Rioja"],
    postcode: Postcode::Integer { min: 1001, max: 52_999 },
    phone: "9##-###-###",
    cell: "6##-###-###",
    id: Some(("DNI", "########-@")),
};

pub(super) static FR: Nation = Nation {
    code: "FR",
    country: "France",
    women: &["Maëlys", "Océane", "Zoé", "Anaïs", "Capucine", "Héloïse", "Inès", "Françoise"],
    men: &["Léo", "Gaëtan", "Théo", "François", "Noël", "Côme", "Raphaël", "Loïck"],
    last_names: &["Lefèvre", "D'Artois", "Chaptal", "L'Hermitte", "Garçon", "Le Goff", "Béranger"],
    streets: &["Rue de l'Abbé-Grégoire", "Avenue Jean Jaurès", "Quai d'Orsay", "Place Bellecour"],
    cities: &["Besançon", "L'Haÿ-les-Roses", "Nîmes", "Aix-en-Provence", "Béziers", "Brest"],
    states: &["Finistère", "Côte-d'Or", "Hérault", "Val-d'Oise", "Corrèze"],
    postcode: Postcode::Integer { min: 1000, max: 95_880 },
    phone: "0#-##-##-##-##",
    cell: "06-##-##-##-##",
    id: Some(("INSEE", "############# ##")),
};

pub(super) static MX: Nation = Nation {
    code: "MX",
    country: "Mexico",
    women: &["Ximena", "Guadalupe", "María José", "Xóchitl", "Ángela", "Renata", "Itzel"],
    men: &["Cuauhtémoc", "Jesús", "Ángel", "Moisés", "Emiliano", "Óscar", "Santiago"],
    last_names: &["Hernández", "Peña", "Güemes", "Castañeda", "Ruiz", "Zúñiga", "Xolalpa"],
    streets: &[
        "Calzada de Tlalpan",
        "Privada \"Las Palmas\"",
        "Avenida Benito Juárez",
        "Calle 5 de Mayo",
    ],
    cities: &["Mérida", "San Cristóbal", "Xalapa", "Tlaquepaque", "Mazatlán", "Cancún"],
    states: &["Michoacán", "Querétaro", "Yucatán", "San Luis Potosí", "Oaxaca"],
    postcode: Postcode::Integer { min: 10_000, max: 99_999 },
    phone: "(6##) ### ####",
    cell: "(6##) ### ####",
    id: Some(("NSS", "## ## ## #### #")),
};

pub(super) static NL: Nation = Nation {
    code: "NL",
    country: "Netherlands",
    women: &["Fenne", "Anneloes", "Daniëlle", "Sanne", "Wietske", "Zoë", "Maaike", "Floor"],
    men: &["Daan", "Joris", "Sjoerd", "Ruben", "Michiel", "Jurriën", "Teun", "Koen"],
    last_names: &["van 't Hoff", "De Groot", "van den Berg", "Oude Wesselink", "IJzerman", "Boer"],
    streets: &["'s-Gravenweg", "Prinsengracht", "Kerkstraat", "Laan van Meerdervoort"],
    cities: &["'s-Hertogenbosch", "IJmuiden", "Leeuwarden", "Zierikzee", "Ede", "Hoorn"],
    states: &["Fryslân", "Zeeland", "Noord-Brabant", "Overijssel", "Utrecht"],
    postcode: Postcode::Text(&["#### @@"]),
    phone: "(0###) ######",
    cell: "(06) ########",
    id: Some(("BSN", "########")),
};
