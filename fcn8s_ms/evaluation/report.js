'use strict';
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const collator = new Intl.Collator(undefined, { numeric: true });

  // Numbers in order, text after them by its letters, and what has no value last either way.
  function compare(one, other, direction) {
    if (one === '' || other === '') return (one === '') - (other === '');
    const numbers = !isNaN(one) && !isNaN(other);
    return direction * (numbers ? one - other : collator.compare(one, other));
  }
  function sorted(items, key, direction) {
    const keyed = items.map((item) => [key(item), item]);
    return keyed.sort((one, other) => compare(one[0], other[0], direction)).map((pair) => pair[1]);
  }
  const value = (cell) => (cell.querySelector('data') || { value: cell.textContent.trim() }).value;

  for (const table of all('table')) {
    const heads = all('thead th', table), body = table.tBodies[0];
    heads.forEach((head, column) => {
      // Scores begin with the highest, names with the first.
      const isText = !body.rows[0].cells[column].querySelector('data') && isNaN(body.rows[0].cells[column].textContent);
      const button = document.createElement('button');
      button.type = 'button';
      head.classList.toggle('text', isText);
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const before = head.getAttribute('aria-sort');
        const down = before ? before === 'ascending' : !isText;
        heads.forEach((one) => one.removeAttribute('aria-sort'));
        head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
        body.append(...sorted([...body.rows], (row) => value(row.cells[column]), down ? -1 : 1));
      });
    });
  }

  for (const figure of all('.pictures figure')) {
    const frame = figure.querySelector('.wide'), image = frame.querySelector('img');
    const button = document.createElement('button');
    button.type = 'button';
    const show = (whole) => {
      frame.classList.toggle('whole', whole);
      button.textContent = whole ? 'Fit to the page' : 'Full size';
      button.setAttribute('aria-pressed', String(whole));
    };
    show(false);
    button.addEventListener('click', () => show(!frame.classList.contains('whole')));
    const fits = () => { button.hidden = !frame.classList.contains('whole') && image.naturalWidth < 1.2 * frame.clientWidth; };
    image.decode().then(fits, fits);
    addEventListener('resize', fits);
    figure.append(button);
  }

  const list = document.querySelector('.cards');
  if (!list) return;
  let cards = [...list.children], direction = 1;
  const tools = document.querySelector('.tools');
  const [by, of, order, search] = ['by', 'of', 'order', 'search'].map((id) => document.getElementById(id));
  const said = document.getElementById('said');
  const names = new Map(cards.map((card) => [card, card.querySelector('h3').textContent]));
  const classes = new Map(cards.map((card) => [card, new Map(
    card.dataset.classes.split(' ').filter(Boolean).map((pair) => pair.split(':')))]));

  // Cards leave the page and return: to hide some of thousands takes browsers seconds.
  function filter() {
    const wanted = search.value.trim().toLowerCase();
    const shown = cards.filter((card) =>
      (of.value === '' || classes.get(card).has(of.value)) && names.get(card).toLowerCase().includes(wanted));
    list.replaceChildren(...shown);
    said.textContent = `${shown.length.toLocaleString('en')} of ${cards.length.toLocaleString('en')} images shown`;
  }
  function reorder() {
    const keys = {
      class: (card) => classes.get(card).get(of.value) ?? '',
      name: (card) => names.get(card),
    };
    const key = keys[by.value] || ((card) => all('data', card)[by.value].value);
    cards = sorted(cards, key, direction);
    const ends = by.value === 'name' ? ['A to Z ▲', 'Z to A ▼'] : ['Lowest first ▲', 'Highest first ▼'];
    order.textContent = ends[direction > 0 ? 0 : 1];
    filter();
  }
  of.addEventListener('change', () => {
    for (const card of cards) {
      const iou = classes.get(card).get(of.value), line = card.querySelector('.chosen');
      line.hidden = iou === undefined;
      if (!line.hidden) line.textContent = `IoU of ${of.selectedOptions[0].textContent}: ${Number(iou).toFixed(4)}`;
    }
    by.options[0].disabled = of.value === '';
    if (of.value !== '') [by.value, direction] = ['class', 1];
    else if (by.value === 'class') by.value = '0';
    reorder();
  });
  by.addEventListener('change', reorder);
  search.addEventListener('input', filter);
  order.addEventListener('click', () => { direction = -direction; reorder(); });
  tools.hidden = false;
  reorder();
})();
