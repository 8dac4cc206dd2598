//! What the users of the demo say, prompt by prompt.

use super::generator::{Sample, Sides, Words};

pub(super) static SUPPORT_ANSWER: Words = Words {
    comments: Sides {
        liked: &[
            "worked first try, thanks",
            "Exactly what I needed, and with the right menu names.",
            "saved me a call to support",
            "Clear steps. I could do it while reading.",
            "perfect",
            "Merci, ça marche !",
            "finally an answer that mentions the new billing page",
            "Good. A link to the setting would make it great.",
            "Danke, hat sofort geholfen",
            "short and correct, more of this please",
            "solved ticket {n} for me",
            "Muy claro, gracias",
            "nice that it asked which plan I am on",
            "ありがとうございます。解決しました",
            "better than the help page, honestly",
            "👍",
        ],
        disliked: &[
            "The export button it talks about does not exist.",
            "asked how to cancel, got told how to upgrade",
            "too long. the answer was in the last sentence",
            "I asked about the mobile app and it explained the web app.",
            "says to go to Settings > Billing, but there is no Billing for members",
            "La réponse est en anglais alors que j'ai écrit en français",
            "not helpful, had to open ticket {n} anyway",
            "It repeated my question back to me.",
            "old prices. we changed them in spring",
            "Stimmt nicht: SSO gibt es erst ab dem Business-Plan.",
            "made up a setting",
            "ok but it took three tries to get there",
            "this is the same text as last time and it did not work last time either",
            "No responde a lo que pregunté.",
            "wrong time zone in the example, we were charged a day early",
            "apologizes a lot, answers little",
            "it told me to contact support. this IS support??",
            "リンク切れです",
            "doesn't know about the integration with our ERP",
            "half right: the limit is per workspace, not per user",
            "I can't find any of those buttons on my screen",
            "tone was a bit condescending",
        ],
    },
    reasons: Sides {
        liked: &["accurate", "saved me time", "easy to follow"],
        disliked: &["wrong", "did not answer", "out of date", "too long", "made up"],
    },
    samples: &[
        Sample {
            input: "How do I add a second admin to our workspace?",
            good: "Open Settings > Members, choose the person, and set the role to Admin. Only the owner can do this.",
            bad: "Please contact your account manager, who will add the admin for you.",
        },
        Sample {
            input: "We were charged twice this month, why?",
            good: "The second charge is for the seats added on the 14th, for the rest of the month. You find both under \
                   Settings > Invoices.",
            bad: "You were charged for this month and the next one. This is how yearly plans work.",
        },
        Sample {
            input: "can i export all conversations as csv",
            good: "Yes: Reports > Conversations > Export. It comes by e-mail when it is ready, usually within an hour.",
            bad: "Click the Export button at the top right of the inbox.",
        },
        Sample {
            input: "Wie ändere ich die Sprache der Oberfläche?",
            good: "Klicken Sie auf Ihr Bild oben rechts, dann auf Profil > Sprache. Es gilt nur für Sie.",
            bad: "Go to your profile and select a language.",
        },
        Sample {
            input: "Is single sign-on part of the Team plan?",
            good: "No, SSO starts with the Business plan. On Team you can require two-factor authentication.",
            bad: "Yes, single sign-on is included in all paid plans.",
        },
    ],
};

pub(super) static SUMMARIZE_TICKET: Words = Words {
    comments: Sides {
        liked: &[
            "Great handover note.",
            "got the customer's mood right too",
            "I send these to engineering unchanged now",
            "five bullets, all of them matter",
            "Kept the order number and the deadline. That's what I need.",
            "saves me ten minutes per ticket",
            "good that it says what was already tried",
            "Excellent résumé, rien à changer",
        ],
        disliked: &[
            "left out that the customer threatened to cancel",
            "The order number is wrong, it is from another ticket.",
            "mixes up who said what",
            "longer than the ticket itself",
            "Says 'resolved'. It is not resolved.",
            "missed the attachment completely",
            "too vague for a handover",
            "The refund was 40, not 400.",
            "Die Reihenfolge der Ereignisse stimmt nicht.",
            "invented a promise that we never made, dangerous (ticket {n})",
        ],
    },
    reasons: Sides {
        liked: &["complete", "saved me time"],
        disliked: &["left something out", "wrong", "too long", "made up"],
    },
    samples: &[],
};

pub(super) static DRAFT_REPLY: Words = Words {
    comments: Sides {
        liked: &[
            "sent as is",
            "only changed the greeting",
            "Right tone for an angry customer.",
            "nice and short",
            "it even offered the right refund",
            "Good draft, I added one sentence.",
            "exactly how I would have put it",
            "Parfait, envoyé sans modification",
        ],
        disliked: &[
            "since last week every draft starts with 'I hope this message finds you well'",
            "Way too formal now. We say 'you', not 'the valued customer'.",
            "why is it suddenly four paragraphs?",
            "rewrote all of it",
            "too many apologies, sounds like we did something wrong",
            "It promises a callback. We do not do callbacks!",
            "the new drafts are worse than the old ones, please change it back",
            "Tone is off. Customer asked a simple question.",
            "signs with a name that is not mine",
            "used to be great, now I write them myself again",
            "Viel zu förmlich seit ein paar Tagen.",
            "offers a 20% discount out of nowhere",
            "Trop long et trop poli, le client voulait juste une date.",
            "ignores the macro we set up for refunds",
            "sounds like a legal department",
            "answered ticket {n} as if it were a complaint. it was a thank you",
        ],
    },
    reasons: Sides {
        liked: &["right tone", "saved me time"],
        disliked: &["wrong tone", "too long", "promises too much", "had to rewrite it"],
    },
    samples: &[
        Sample {
            input: "Hi, my parcel says delivered but it is not here. Can you help?",
            good: "Hi Jonas, sorry about that! I have asked the carrier where they left it and will write to you by \
                   tomorrow noon. If it is lost, we send a new one.",
            bad: "Dear valued customer, I hope this message finds you well. We sincerely apologize for any inconvenience \
                  that this situation may have caused you. Kindly be informed that an investigation has been initiated.",
        },
        Sample {
            input: "Do you ship to Norway?",
            good: "Hi Ingrid, yes, we do. It takes three to five days and costs 12 euros.",
            bad: "Dear Ingrid, thank you very much for reaching out to us with your important inquiry regarding our \
                  international shipping options. A member of our team will call you back shortly.",
        },
        Sample {
            input: "I want my money back. This is the third time!!",
            good: "Hi Pat, three times is three too many, and I am sorry. I have refunded the whole order just now; it is in \
                   your account in two days.",
            bad: "Dear customer, we regret to hear of your experience. As a gesture of goodwill, please accept a discount \
                  of 20% on your next purchase.",
        },
    ],
};

pub(super) static SEARCH_DOCS: Words = Words {
    comments: Sides {
        liked: &[
            "found it in one go",
            "cites the right page, very good",
            "the code sample ran without changes",
            "Love that it quotes the paragraph.",
            "faster than our own search",
            "第一个结果就是我要找的",
        ],
        disliked: &[
            "The link goes to version 2. We are on 4.",
            "does not find anything about webhooks, although there are three pages",
            "sample uses a method that was removed",
            "quotes the page but draws the wrong conclusion",
            "I searched for error {n} and got the pricing page",
            "no results for a word that is in the title",
            "Código de ejemplo con errores de sintaxis",
            "answers from the blog, not from the reference",
            "it says the rate limit is 100. it is 600 since the last release",
            "Почему ответ на английском?",
            "slow and then wrong",
            "asked for Python, got Java",
        ],
    },
    reasons: Sides {
        liked: &["accurate", "good sources"],
        disliked: &["out of date", "wrong", "no source", "did not answer"],
    },
    samples: &[],
};

pub(super) static TRANSLATE: Words = Words {
    comments: Sides {
        liked: &[
            "natürlich formuliert, sehr gut",
            "On dirait un texte écrit par un humain.",
            "Suena natural, gracias.",
            "Kept our product names in English, as it should.",
            "自然な日本語です",
            "perfetto",
            "ficou ótimo",
            "even the pun works",
        ],
        disliked: &[
            "Übersetzt 'seat' mit 'Stuhl'. Gemeint ist die Lizenz.",
            "Mélange tu et vous dans le même paragraphe.",
            "敬語がおかしいです",
            "Demasiado literal.",
            "translated the placeholder {name} too, which broke the mail",
            "Metà del testo è rimasta in inglese",
            "too formal for an app",
        ],
    },
    reasons: Sides {
        liked: &["sounds natural"],
        disliked: &["too literal", "wrong term", "wrong tone"],
    },
    samples: &[
        Sample {
            input: "Your plan has 5 seats.",
            good: "Ihr Tarif enthält 5 Lizenzen.",
            bad: "Ihr Plan hat 5 Stühle.",
        },
        Sample {
            input: "We'll get back to you shortly.",
            good: "Nous revenons vers vous très vite.",
            bad: "Nous allons retourner à toi brièvement.",
        },
        Sample {
            input: "Please restart the app.",
            good: "アプリを再起動してください。",
            bad: "アプリを再スタートせよ。",
        },
    ],
};

pub(super) static EXTRACT_INVOICE: Words = Words {
    comments: Sides {
        liked: &[
            "all fields right",
            "even read the stamp over the total",
            "correct, booked",
        ],
        disliked: &[
            "net and gross are swapped",
            "takes the delivery date for the invoice date",
            "IBAN has one digit too few",
            "reads 1.250,00 as 1.25",
            "missed the second page",
            "Lieferant falsch: das ist der Spediteur",
            "invoice {n}: currency is CHF, not EUR",
            "VAT id missing although it is printed in bold",
        ],
    },
    reasons: Sides {
        liked: &["accurate"],
        disliked: &["wrong amount", "wrong date", "field missing"],
    },
    samples: &[
        Sample {
            input: "Rechnung 2026-0417, Datum 03.11.2026, Netto 1.250,00 EUR, USt 19 % 237,50, Brutto 1.487,50 EUR",
            good: r#"{"number": "2026-0417", "date": "2026-11-03", "net": 1250.00, "gross": 1487.50, "currency": "EUR"}"#,
            bad: r#"{"number": "2026-0417", "date": "2026-03-11", "net": 1.25, "gross": 1.4875, "currency": "EUR"}"#,
        },
        Sample {
            input: "INVOICE #88123 — Issued 28 Oct 2026 — Subtotal $640.00 — Tax $52.80 — Total due $692.80",
            good: r#"{"number": "88123", "date": "2026-10-28", "net": 640.00, "gross": 692.80, "currency": "USD"}"#,
            bad: r#"{"number": "88123", "date": "2026-10-28", "net": 692.80, "gross": 640.00, "currency": "USD"}"#,
        },
        Sample {
            input: "Facture n° F-2611, le 12/11/2026, livraison le 09/11/2026, total TTC 318,00 €",
            good: r#"{"number": "F-2611", "date": "2026-11-12", "gross": 318.00, "currency": "EUR"}"#,
            bad: r#"{"number": "F-2611", "date": "2026-11-09", "gross": 318.00, "currency": "EUR"}"#,
        },
    ],
};

pub(super) static WELCOME_TOUR: Words = Words {
    comments: Sides::NONE,
    reasons: Sides {
        liked: &["easy to follow"],
        disliked: &["too long"],
    },
    samples: &[],
};
