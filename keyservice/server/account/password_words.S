/* The bytes of password_words.txt, for password_words.c. */
    .section .rodata
    .global password_words_text
password_words_text:
    .incbin "keyservice/server/account/password_words.txt"
    .global password_words_end
password_words_end:
    .byte 0
    .section .note.GNU-stack,"",@progbits
