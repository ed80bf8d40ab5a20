// Files that a message brings: those that are shown in it, and those that only say that they were.
import { deflateSync, gzipSync } from 'node:zlib';

const CRLF = '\r\n';
const crc32 = (bytes) => gzipSync(bytes).subarray(-8).readUInt32LE(); // its trailer

// A PNG of so many pixels, a slope of teal: what a photograph is in size.
export function picture(width, height) {
    const chunk = (type, bytes) => {
        const body = Buffer.concat([Buffer.from(type, 'latin1'), bytes]);
        const whole = Buffer.alloc(body.length + 8);
        whole.writeUInt32BE(bytes.length);
        body.copy(whole, 4);
        whole.writeUInt32BE(crc32(body), body.length + 4);
        return whole;
    };
    const header = Buffer.alloc(13);
    header.writeUInt32BE(width);
    header.writeUInt32BE(height, 4);
    header.set([8, 2], 8); // of three colours, 8 bits each
    const rows = Buffer.alloc(height * (1 + 3 * width));
    for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++)
            rows.set([11, 93 + 120 * x / width, 94 + 120 * y / height], y * (1 + 3 * width) + 1 + 3 * x);
    }
    return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

// A PDF of one page that says `text` and does `action` when it is opened.
export function pdf(text, action = '<</S/Named/N/FirstPage>>') {
    const content = `BT /F 24 Tf 20 100 Td (${text}) Tj ET`;
    const objects = ['<</Type/Catalog/Pages 2 0 R/OpenAction 6 0 R>>', '<</Type/Pages/Kids[3 0 R]/Count 1>>',
        '<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 200]/Contents 4 0 R/AA<</O 6 0 R>>/Resources<</Font<</F 5 0 R>>>>>>',
        `<</Length ${content.length}>>\nstream\n${content}\nendstream`, '<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>', action];
    let file = '%PDF-1.7\n';
    const places = objects.map((object, index) => {
        const at = file.length;
        file += `${index + 1} 0 obj\n${object}\nendobj\n`;
        return at;
    });
    const table = places.map((at) => `${String(at).padStart(10, '0')} 00000 n \n`).join('');
    return Buffer.from(`${file}xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${table}trailer<</Size ${objects.length + 1}/Root 1 0 R>>\n`
        + `startxref\n${file.length}\n%%EOF\n`, 'latin1');
}

// What a PDF can be told to do at once that would tell somebody that it is being read: by actions, one after the other,
// and by a script.
export const pdfActions = (tracker) => [
    [`<</S/URI/URI(${tracker}/uri)`, `<</S/GoToR/F<</FS/URL/F(${tracker}/other.pdf)>>/D[0/Fit]`, `<</S/Launch/F(${tracker}/launch)`,
        `<</S/SubmitForm/F<</FS/URL/F(${tracker}/submit)>>/Flags 4`, `<</S/ImportData/F<</FS/URL/F(${tracker}/fdf)>>`]
        .reduceRight((next, action) => `${action}${next && `/Next ${next}`}>>`, ''),
    `<</S/JavaScript/JS(app.launchURL\\('${tracker}/launched'\\);this.submitForm\\('${tracker}/submitted'\\);this.getURL\\('${tracker}/got'\\);)>>`,
];

const SCRIPT = '<script>opener && (opener.ran = 1); parent.ran = 1; document.title = "ran"</script>';
const DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="parent.ran=1"><script>parent.ran=1</script></svg>';

// A message with files of every kind: { type, name, bytes }. Of these the first four can be looked at.
export const gallery = (text, action) => [
    { type: 'image/png', name: 'Sommer am See.png', bytes: picture(1600, 1000) },
    { type: 'application/octet-stream', name: 'TALL.JPG', bytes: picture(300, 1800) },
    { type: 'application/pdf', name: 'Bericht Q3 €.pdf', bytes: pdf(text, action) },
    { type: 'image/png', name: 'false.png', bytes: Buffer.from(SCRIPT) },
    { type: 'image/svg+xml', name: 'drawing.svg', bytes: Buffer.from(DRAWING) },
    { type: 'text/html', name: 'page.html', bytes: Buffer.from(SCRIPT) },
    { type: 'image/png', name: 'page.png.html', bytes: Buffer.from(SCRIPT) },
];

export function mailOf(files, body = ['Content-Type: text/plain; charset=utf-8', '', 'See the files.', '']) {
    const parts = files.flatMap(({ type, name, bytes }) => ['--files', `Content-Type: ${type}`, 'Content-Transfer-Encoding: base64',
        `Content-Disposition: attachment; filename*=utf-8''${encodeURIComponent(name)}`, '', bytes.toString('base64').replace(/.{76}/g, '$&\r\n')]);
    return Buffer.from(['From: Reports <reports@example.org>', 'To: Anna <anna@example.com>, Bert <bert@example.com>', 'Cc: carol@example.com',
        'Subject: Files', 'Date: Fri, 21 Nov 2025 18:33:20 +0100', 'MIME-Version: 1.0', 'Content-Type: multipart/mixed; boundary=files', '',
        '--files', ...body, ...parts, '--files--', ''].join(CRLF));
}
