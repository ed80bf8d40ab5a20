#include "bench/keyservice/example.h"

void example_record(struct record *record, uint64_t sent_unix_ms, const uint8_t *recipient,
                    uint32_t recipient_bytes)
{
    static const char profile[] = "default";
    static const char sender[] = "sender@company.example";
    static const char subject[] = "The figures for the quarter";
    *record = (struct record){.suite = 1,
                              .level = RECORD_LEVEL_HIGH,
                              .sent_unix_ms = sent_unix_ms,
                              .mail_bytes = 4096,
                              .profile = (const uint8_t *)profile,
                              .profile_bytes = sizeof(profile) - 1,
                              .sender = (const uint8_t *)sender,
                              .sender_bytes = sizeof(sender) - 1,
                              .subject = (const uint8_t *)subject,
                              .subject_bytes = sizeof(subject) - 1,
                              .recipients_count = 1,
                              .recipients = recipient,
                              .recipients_bytes = recipient_bytes};
}
